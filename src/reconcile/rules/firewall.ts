import { blocksForwarding, changeIptables, hasDirectDrops, hasDocker } from '#src/firewall/iptables.ts';
import type { SavedTables } from '#src/firewall/iptables-save.ts';
import { changeNftables, nftFamily } from '#src/firewall/nftables.ts';
import {
  type Change,
  FAMILIES,
  type Family,
  type FamilyRules,
  type Names,
  namesOf,
  noRules,
  type Overlays,
  rulesOf,
  type WantedRules,
} from '#src/firewall/rules.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { LeftOutTables } from '#src/reconcile/rules/left-out-tables.ts';
import {
  commandFailed,
  type FirewallHost,
  findPrograms,
  hasLegacyTables,
  type Iptables,
  type Programs,
  readRules,
  restoreCommand,
  saveCommand,
  savedIn,
} from '#src/reconcile/rules/programs.ts';
import { QuietRules } from '#src/reconcile/rules/quiet-rules.ts';
import { type CommandResult, isCutOff } from '#src/sys/command.ts';

export interface FirewallComponents extends FirewallHost {
  readonly log: Logger;
  /** What was found on this host already; looked for when it is first needed otherwise, and where that look failed. */
  readonly programs?: Promise<Programs> | undefined;
}

export interface FirewallOptions {
  /** `auto` is iptables where there is one, as flannel does without `EnableNFTables`. */
  readonly mode: 'auto' | 'iptables' | 'nftables';
  /** Tells the rules of several networks on one host apart; empty or absent for flannel's own names. See {@link namesOf}. */
  readonly instance?: string;
}

export type Verdict =
  | { readonly asWanted: true }
  | { readonly asWanted: false; readonly missing: readonly string[] };

/** One command with its input: a whole transaction. */
export interface Step {
  readonly command: readonly [string, ...string[]];
  readonly input: string;
  /** What is not as wanted, and will be. */
  readonly faults: readonly string[];
  /** As in {@link Change}: when it is refused, the table that it begins with is left out from then on. */
  readonly optional?: string;
}

/** The one firewall that takes the rules; none where nothing is wanted and no program is there. */
type InUse = 'nftables' | Iptables | undefined;

/** Of iptables (xtables.h): another program holds the lock, or the kernel says EAGAIN. */
const RESOURCE_PROBLEM = 4;

/** Tries, when the rules change between the look and the write. */
const ATTEMPTS = 3;

/**
 * Keeps one overlay network's masquerade and forward rules in the host's packet filter. Every call compares what is
 * there with what is wanted; only a difference is written, as one transaction to a family.
 *
 * A packet passes nftables' chains and those of both kinds of iptables, and an accept in one does not undo a drop in
 * another. So where a firewall that is not in use stops forwarding (Docker's policy DROP), the forward rules go there too,
 * and where Docker drops in the raw table of iptables, the accept does.
 */
export class Firewall {
  readonly #host: FirewallHost;
  readonly #log: Logger;
  readonly #options: FirewallOptions;
  readonly #names: Names;
  readonly #looked: Promise<Programs> | undefined;
  readonly #quiet: QuietRules;
  readonly #leftOut = new LeftOutTables();
  #programs: Programs | undefined;

  constructor(
    { commands, files, ruleset, isWriter, log, programs }: FirewallComponents,
    options: FirewallOptions,
  ) {
    if (!/^[A-Za-z0-9]{0,12}$/.test(options.instance ?? '')) {
      throw new TypeError(`a firewall instance is up to 12 letters and digits, not "${options.instance}"`);
    }
    this.#host = { commands, files, ruleset, isWriter };
    this.#quiet = new QuietRules(ruleset, isWriter);
    this.#log = log;
    this.#looked = programs;
    this.#options = options;
    this.#names = namesOf(options.instance);
  }

  /**
   * Makes the rules as wanted; returns what was mended, in words, nothing when all was as wanted. One family's failure
   * does not keep the other from being set. Throws a `WeftError` with the program, its exit code and its complaint.
   * No program is run while the kernel says that nothing has changed since all was as wanted.
   */
  async apply(wanted: WantedRules, signal?: AbortSignal): Promise<string[]> {
    let generation: number | undefined;
    const isDue = this.#leftOut.next();
    const { mended, writers } = await this.#run(async () => {
      generation = await this.#quiet.read();
      const isQuiet = !isDue && (await this.#isQuiet(generation, wanted, signal));
      return isQuiet ? [] : this.plan(wanted, signal);
    }, signal);
    this.#quiet.found(generation, wanted, writers);
    for (const table of this.#leftOut.filled())
      this.#log.info(`Nothing is left out of the table ${table} any more`);
    return mended;
  }

  /** The programs of this host, looked for once. */
  programs(signal?: AbortSignal): Promise<Programs> {
    return this.#find(signal);
  }

  /** To be called with each of the kernel's events, which spare the look after a write of ours. */
  notify(event: NftablesEvent): void {
    this.#quiet.notify(event);
  }

  /** Whether all is there, in order and once. Writes nothing. */
  async verify(wanted: WantedRules, signal?: AbortSignal): Promise<Verdict> {
    const missing = (await this.plan(wanted, signal)).flatMap(({ faults }) => faults);
    return missing.length === 0 ? { asWanted: true } : { asWanted: false, missing };
  }

  /** What {@link apply} would run now. */
  async plan(wanted: WantedRules, signal?: AbortSignal): Promise<Step[]> {
    return this.#look(wanted, false, signal);
  }

  /**
   * Takes our rules, and those of earlier flannels, out of every firewall and family in which they are not wanted: left
   * from before `EnableNFTables` changed, or from a host that went over to the other iptables. After {@link apply}, so
   * that there is no moment without rules. Firewalls that are not there hold nothing.
   */
  async cleanOther(wanted: WantedRules, signal?: AbortSignal): Promise<string[]> {
    return (await this.#run(() => this.#look(wanted, true, signal), signal)).mended;
  }

  /** Takes all our rules out of every firewall; with `previous`, flannel 0.9's bare rules for those networks too. */
  async removeAll(previous?: Overlays, signal?: AbortSignal): Promise<string[]> {
    return this.cleanOther(noRules(previous), signal);
  }

  /** What {@link removeAll} would run now. */
  removal(previous?: Overlays, signal?: AbortSignal): Promise<Step[]> {
    return this.#look(noRules(previous), true, signal);
  }

  /** Whether nothing can have changed. Those of iptables-legacy can: the kernel counts no changes there. */
  async #isQuiet(
    generation: number | undefined,
    wanted: WantedRules,
    signal?: AbortSignal,
  ): Promise<boolean> {
    if (!this.#quiet.hold(generation, wanted)) return false;
    const { iptables } = await this.#find(signal);
    if (iptables.every(({ kind }) => kind !== 'legacy')) return true;
    const families = FAMILIES.filter((family) => isNamed(wanted, family));
    const legacy = await Promise.all(families.map((family) => hasLegacyTables(this.#host, family)));
    return !legacy.includes(true);
  }

  /** Also says which processes wrote. */
  async #run(
    look: () => Promise<Step[]>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly mended: string[]; readonly writers: (number | undefined)[] }> {
    const mended: string[] = [];
    const writers: (number | undefined)[] = [];
    for (let attempt = 1; ; attempt++) {
      let failure: WeftError | undefined;
      let isShort = false;
      for (const { command, input, faults, optional } of await look()) {
        const result = await this.#host.commands.run(command, { stdin: input, ...(signal && { signal }) });
        writers.push(result.pid);
        if (result.code === 0) mended.push(...faults);
        else if (optional === undefined || isCutOff(result) || result.code === RESOURCE_PROBLEM)
          failure ??= commandFailed('could not set the firewall rules', command, result);
        else {
          this.#leaveOut(optional, command, result);
          isShort = true;
        }
      }
      if (failure === undefined && !isShort) return { mended, writers };
      if (failure !== undefined && attempt >= ATTEMPTS) throw failure;
    }
  }

  /** A kernel without the table has no drops of Docker's in it either. */
  #leaveOut(table: string, command: Step['command'], result: CommandResult): void {
    if (!this.#leftOut.refused(command[0], table)) return;
    const what = `Going on without rules in the table ${table}`;
    this.#log.warning(`${what}: ${messageOf(commandFailed('it could not be filled', command, result))}`);
  }

  /** `everywhere`: also where rules of ours can only be left-overs. */
  async #look(wanted: WantedRules, everywhere: boolean, signal?: AbortSignal): Promise<Step[]> {
    const programs = await this.#find(signal);
    const inUse = await this.#choose(programs, wanted);
    const looks: Promise<Step[]>[] = [];
    for (const family of FAMILIES) {
      if (!everywhere && !isNamed(wanted, family)) continue;
      const rules = rulesOf(wanted, family);
      if (everywhere || inUse === 'nftables') {
        looks.push(this.#lookAtNftables(programs, family, rules, inUse === 'nftables', signal));
      }
      for (const iptables of programs.iptables) {
        const own = iptables.modern ? rules : rulesOf({ ...wanted, randomFully: false }, family);
        looks.push(this.#lookAtIptables(iptables, family, own, iptables === inUse, everywhere, signal));
      }
    }
    return (await Promise.all(looks)).flat();
  }

  async #lookAtNftables(
    { nft }: Programs,
    family: Family,
    rules: FamilyRules,
    inUse: boolean,
    signal?: AbortSignal,
  ): Promise<Step[]> {
    const name = this.#names.table(family);
    const tables = await this.#host.ruleset?.tables(family);
    if (!inUse && tables?.includes(name) === false) return [];
    const program = await nft();
    if (program === undefined) return [];
    let listing: string | undefined;
    if (tables?.includes(name) !== false) {
      const list = ['nft', '-j', 'list', 'table', nftFamily(family), name] as const;
      const result = await this.#host.commands.run(list, signal && { signal });
      if (result.code === 0) listing = result.stdout;
      else if (!result.stderr.includes('No such file or directory')) {
        if (!inUse && !isCutOff(result)) return [];
        throw commandFailed('could not read the firewall rules', list, result);
      }
    }
    const change = changeNftables(listing, family, inUse ? rules : NONE, this.#names, program.comments);
    return step(['nft', '-f', '-'], change);
  }

  async #lookAtIptables(
    iptables: Iptables,
    family: Family,
    rules: FamilyRules,
    inUse: boolean,
    everywhere: boolean,
    signal?: AbortSignal,
  ): Promise<Step[]> {
    const save = saveCommand(iptables, family);
    const result = await readRules(this.#host, iptables, family, signal);
    if (result.code !== 0) {
      if (!inUse && !isCutOff(result)) return [];
      throw commandFailed('could not read the firewall rules', save, result);
    }
    const saved = savedIn(result);
    const [blocks, docker] = [blocksForwarding(saved), hasDocker(saved)];
    if (!inUse && !everywhere && !blocks && !docker) return [];
    const needed = {
      ...NONE,
      bare: rules.bare,
      ...(blocks && { forward: rules.forward }),
      ...(docker && { fromPeers: rules.fromPeers, raw: rules.raw }),
    };
    const restore = restoreCommand(iptables, family);
    const own = inUse ? await this.#asDockerNeeds(rules, saved, iptables, family) : needed;
    const change = changeIptables(saved, own, this.#names, this.#leftOut.of(restore[0]));
    const program = save[0].replace(/-save$/, '');
    return step(restore, {
      ...change,
      faults: change.faults.map((fault) => `${program} ${fault}`),
    });
  }

  /**
   * Without the chains that only newer engines of Docker need, until there is one: every packet passes the hooks of their tables
   * several times, which costs a sixth of the packets. nftables reports the tables and chains that Docker makes at its start,
   * before it has a container. iptables-legacy reports nothing, so that its chains are there before. What was made stays: a
   * restart of Docker removes its own and adds them again.
   */
  async #asDockerNeeds(
    rules: FamilyRules,
    saved: SavedTables,
    { kind }: Iptables,
    family: Family,
  ): Promise<FamilyRules> {
    const tables = kind === 'nft' ? await this.#host.ruleset?.tables(family) : undefined;
    if (tables === undefined) return rules;
    const has = (table: string, chain: string) => saved.get(table)?.has(chain) === true;
    const { raw, mark } = this.#names;
    return {
      ...rules,
      ...(!hasDirectDrops(saved) && !has('raw', raw) && { raw: [] }),
      ...(!tables.includes(DOCKER_TABLE) && !has('mangle', mark) && { mark: [] }),
    };
  }

  /** Looked for once: programs do not come and go under a running daemon, and a choice that wavers would leave rules behind. */
  async #find(signal?: AbortSignal): Promise<Programs> {
    if (this.#programs !== undefined) return this.#programs;
    const look = (): Promise<Programs> => findPrograms(this.#host, signal);
    const programs = await (this.#looked?.catch(look) ?? look());
    const [first] = programs.iptables;
    const { mode } = this.#options;
    if (programs.mixed) {
      const used = mode === 'nftables' ? mode : `iptables-${first?.kind}`;
      this.#log.warning(
        `This host has rules in iptables-nft and in iptables-legacy; packets pass both. Using ${used}`,
      );
    } else if (first !== undefined && first.infix !== '' && mode !== 'nftables') {
      this.#log.info(`This host keeps its rules in iptables-${first.kind}; using that`);
    }
    if (first === undefined && mode === 'auto' && (await programs.nft()) !== undefined) {
      this.#log.info('There is no iptables on this host; using nftables');
    }
    this.#programs = programs;
    return programs;
  }

  async #choose({ iptables, nft }: Programs, wanted: WantedRules): Promise<InUse> {
    const { mode } = this.#options;
    if (mode !== 'nftables' && iptables[0] !== undefined) return iptables[0];
    if (mode !== 'iptables' && (await nft()) !== undefined) return 'nftables';
    if (!wanted.masquerade && !wanted.forward) return undefined;
    const packages = { auto: 'iptables', iptables: 'iptables', nftables: 'nftables' };
    const program = { auto: 'iptables nor nft', iptables: 'iptables', nftables: 'nft' };
    throw new WeftError(
      'firewall-missing',
      `could not set the firewall rules: there is no ${program[mode]} on this host`,
      {
        remedy: `install the package ${packages[mode]}, or run with --ip-masq=false --iptables-forward-rules=false`,
      },
    );
  }
}

/** Of Docker's nftables back end (engine 29), in each family. */
const DOCKER_TABLE = 'docker-bridges';

const NONE: FamilyRules = {
  masquerade: [],
  forward: [],
  fromPeers: [],
  raw: [],
  mark: [],
  bare: { masquerade: [], forward: [] },
};

const isNamed = (wanted: WantedRules, family: Family): boolean =>
  [wanted, wanted.previous].some((overlays) => (family === 4 ? overlays?.v4 : overlays?.v6) !== undefined);

const step = (command: Step['command'], { transaction, ...change }: Change): Step[] =>
  transaction === '' ? [] : [{ command, input: transaction, ...change }];
