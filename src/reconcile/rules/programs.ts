import { countForeignRules } from '#src/firewall/iptables.ts';
import { parseIptablesSave, type SavedTables } from '#src/firewall/iptables-save.ts';
import type { Family } from '#src/firewall/rules.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type CommandResult, type CommandRunner, isCutOff } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';

/** One of the two iptables that a host may have; they do not see each other's rules. */
export interface Iptables {
  readonly kind: 'nft' | 'legacy';
  /** What stands between `iptables` and `-save` in the programs' names: empty for the host's own choice. */
  readonly infix: '' | '-nft' | '-legacy';
  /** 1.6.2 and later: `iptables-restore --wait` and `--random-fully`. */
  readonly modern: boolean;
}

export interface Nft {
  /** 0.9.9 and later read comments on chains. */
  readonly comments: boolean;
}

/** The packet filter programs of this host. */
export interface Programs {
  /** The one that the host's other rules are in comes first. */
  readonly iptables: readonly Iptables[];
  /** Asked of the program when it is first needed, which is never on most hosts with iptables. */
  readonly nft: () => Promise<Nft | undefined>;
  /** Rules of others in both kinds of iptables: each packet passes both, and each tool shows half. */
  readonly mixed: boolean;
}

export const saveCommand = ({ infix }: Iptables, family: Family): [string] => [
  `${familyCommand(family)}${infix}-save`,
];

/** Of one input each table is applied in one step; tables and chains that the input does not name stay. */
export const restoreCommand = ({ infix, modern }: Iptables, family: Family): [string, ...string[]] => [
  `${familyCommand(family)}${infix}-restore`,
  '--noflush',
  // Another program may hold the xtables lock for a moment.
  ...(modern ? ['--wait=5'] : []),
];

const familyCommand = (family: Family): string => (family === 4 ? 'iptables' : 'ip6tables');

/** What is asked for rules. */
export interface FirewallHost {
  readonly commands: CommandRunner;
  /** This network namespace's /proc. Without it each look at legacy rules is a process, if there are rules or not. */
  readonly files?: Pick<Files, 'read'> | undefined;
  /** This network namespace's. Without it each look at rules of nftables is a process. */
  readonly ruleset?: Ruleset | undefined;
  /** Whether a process was one of this daemon's that wrote rules. Default: what wrote is somebody else's. */
  readonly isWriter?: ((pid: number | undefined) => boolean) | undefined;
}

const read = new WeakMap<CommandResult, SavedTables>();

/** What `iptables-save` printed. Networks that share a listing share what is read from it. */
export function savedIn(result: CommandResult): SavedTables {
  const saved = read.get(result) ?? parseIptablesSave(result.stdout);
  read.set(result, saved);
  return saved;
}

/** What iptables-nft keeps its rules in, and prints; other tables are nftables' own (iptables/nft.c). */
export const IPTABLES_TABLES: readonly string[] = ['filter', 'nat', 'mangle', 'raw', 'security'];

/** What `iptables-save` prints. Where the kernel has no table that it would print, there is no need to run it. */
export async function readRules(
  host: FirewallHost,
  iptables: Iptables,
  family: Family,
  signal?: AbortSignal,
): Promise<CommandResult> {
  const nothing =
    iptables.kind === 'legacy'
      ? !(await hasLegacyTables(host, family))
      : await lacksModernTables(host, family);
  if (nothing) return { code: 0, stdout: '', stderr: '' };
  return host.commands.run(saveCommand(iptables, family), signal && { signal });
}

/** Whether the kernel has tables of iptables-legacy, or may have: it lists them in /proc (iptables/iptables-save.c). */
export async function hasLegacyTables(
  { files }: Pick<FirewallHost, 'files'>,
  family: Family,
): Promise<boolean> {
  const list = family === 4 ? '/proc/net/ip_tables_names' : '/proc/net/ip6_tables_names';
  const unknown = 'some that may not be read';
  const tables = files === undefined ? unknown : await files.read(list).catch(() => unknown);
  return (tables ?? '') !== '';
}

async function lacksModernTables({ ruleset }: FirewallHost, family: Family): Promise<boolean> {
  const tables = await ruleset?.tables(family);
  return tables !== undefined && !tables.some((name) => IPTABLES_TABLES.includes(name));
}

const LOOK = 'could not look which packet filter this host has';

/**
 * Looks which programs there are, by their versions, and which iptables the host's rules are in (Docker's, an
 * administrator's). Where neither has any, or both, the one that `iptables` stands for, which Docker uses too, comes first.
 * Throws WeftError `firewall` where a program did not come to its end.
 */
export async function findPrograms(host: FirewallHost, signal?: AbortSignal): Promise<Programs> {
  const { commands } = host;
  const options = signal === undefined ? {} : { signal };
  let nftFound: Promise<Nft | undefined> | undefined;
  const nft = () => {
    nftFound ??= findNft().catch((error: unknown) => {
      nftFound = undefined;
      throw error;
    });
    return nftFound;
  };
  const iptablesVersion = await versionOf('iptables');
  if (iptablesVersion.code !== 0) return { iptables: [], nft, mixed: false };

  const modern = atLeast(iptablesVersion.stdout, [1, 6, 2]);
  const kind = iptablesVersion.stdout.includes('(nf_tables)') ? 'nft' : 'legacy';
  const own: Iptables = { kind, infix: '', modern };
  const other: Iptables =
    kind === 'nft' ? { kind: 'legacy', infix: '-legacy', modern } : { kind: 'nft', infix: '-nft', modern };
  const otherRules = await count(other);
  if (otherRules === undefined) return { iptables: [own], nft, mixed: false };
  // How many of its own there are counts only against others: most hosts have rules in one kind, or none.
  const ownRules = otherRules > 0 ? await count(own) : 0;
  const otherFirst = otherRules > 0 && ownRules === 0;
  const mixed = otherRules > 0 && ownRules !== undefined && ownRules > 0;
  return { iptables: otherFirst ? [other, own] : [own, other], nft, mixed };

  async function findNft(): Promise<Nft | undefined> {
    const { code, stdout } = await versionOf('nft');
    return code === 0 ? { comments: atLeast(stdout, [0, 9, 9]) } : undefined;
  }

  async function versionOf(program: string): Promise<CommandResult> {
    const command = [program, '--version'] as const;
    return toItsEnd(LOOK, command, await commands.run(command, options));
  }

  async function count(iptables: Iptables): Promise<number | undefined> {
    const { code, stdout } = toItsEnd(
      LOOK,
      saveCommand(iptables, 4),
      await readRules(host, iptables, 4, signal),
    );
    return code === 0 ? countForeignRules(parseIptablesSave(stdout)) : undefined;
  }
}

/**
 * The result of a program that came to its end. Throws WeftError `firewall` for another one: it says nothing of the host, and must not
 * count as "no rules" or "no such program".
 */
export function toItsEnd(what: string, command: readonly string[], result: CommandResult): CommandResult {
  if (isCutOff(result)) throw commandFailed(what, command, result);
  return result;
}

/** The error of a program that refused, in one line: what could not be done, the program, its exit code and its complaint. */
export function commandFailed(
  what: string,
  command: readonly string[],
  { code, stderr }: CommandResult,
): WeftError {
  // iptables-nft begins with remarks on tables of the other kind.
  const complaint = stderr.split('\n').find((line) => line.trim() !== '' && !line.startsWith('#'));
  const reason = complaint?.trim() ?? 'it did not say why';
  return new WeftError('firewall', `${what}: "${command.join(' ')}" ended with ${code}: ${reason}`);
}

/** Whether the first `v1.2.3` in the text is this version or a later one. */
function atLeast(text: string, wanted: readonly [number, number, number]): boolean {
  const found = /v(\d+)\.(\d+)(?:\.(\d+))?/.exec(text)?.slice(1) ?? [];
  for (const [index, part] of wanted.entries()) {
    const number = Number(found[index] ?? 0);
    if (number !== part) return number > part;
  }
  return true;
}
