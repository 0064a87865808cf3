import { ChainFacts, endOf, plainText } from '#src/firewall/chain-facts.ts';
import { parseRule, type SavedRule, type SavedTable, type SavedTables } from '#src/firewall/iptables-save.ts';
import {
  type Change,
  type FamilyRules,
  MASQUERADE_MARK,
  type Match,
  type Names,
  type Rule,
} from '#src/firewall/rules.ts';
import { formatPrefix } from '#src/lib/ip.ts';

/** A chain of ours, and the chain that leads into it. */
interface OwnChain {
  readonly table: string;
  readonly parent: string;
  readonly name: string;
  readonly comment: string;
  readonly rules: readonly Rule[];
  /** Rules of earlier versions in the parent. */
  readonly bare: readonly Rule[];
  /**
   * Where the jump stands in the parent. `last`: what Docker or the user drop before it stays dropped, as flannel does it.
   * `first`: a drop of Docker's that comes before it can't be undone.
   */
  readonly place: 'first' | 'last';
}

/** The lines of one table's transaction, in the order in which they have to stand. */
interface Lines {
  readonly declare: string[];
  readonly remove: string[];
  readonly add: string[];
  readonly drop: string[];
}

/** Those that a kernel may lack come last: the program gives up at the first table that is refused. */
const TABLES = ['nat', 'filter', 'mangle', 'raw'];
const OPTIONAL = ['mangle', 'raw'];

/**
 * What to feed to `iptables-restore --noflush` so that one family's rules are as wanted. Each table changes in one
 * step; chains of ours are filled again, of foreign ones only our jump and flannel's old bare rules are touched.
 * A `-D` in it names a rule that was there when `saved` was read: when it is gone, the kernel refuses the whole table.
 *
 * `lacking` names optional tables that the kernel refused before: nothing is put into them while there is nothing in them.
 */
export function changeIptables(
  saved: SavedTables,
  wanted: FamilyRules,
  names: Names,
  lacking: ReadonlySet<string> = new Set(),
): Change {
  const faults: string[] = [];
  const changed: string[] = [];
  let transaction = '';
  for (const name of TABLES) {
    if (lacking.has(name) && !saved.has(name)) continue;
    const table = saved.get(name) ?? new Map();
    const lines: Lines = { declare: [], remove: [], add: [], drop: [] };
    for (const chain of ownChains(saved, wanted, names)) {
      if (chain.table === name) faults.push(...mend(table, chain, lines));
    }
    const all = [...lines.declare, ...lines.remove, ...lines.add, ...lines.drop];
    if (all.length === 0) continue;
    transaction += `${[`*${name}`, ...all, 'COMMIT'].join('\n')}\n`;
    changed.push(name);
  }
  const [optional] = changed;
  if (optional === undefined || !changed.every((name) => OPTIONAL.includes(name) && !saved.has(name)))
    return { faults, transaction };
  return { faults, transaction, optional };
}

/**
 * Whether this firewall would stop the overlay's packets without a rule of its own: Docker's FORWARD policy DROP, or a
 * reject at the end. An accept in another table (native nftables, the other iptables) does not help against that.
 */
export function blocksForwarding(saved: SavedTables): boolean {
  const table: SavedTable = saved.get('filter') ?? new Map();
  const forward = table.get('FORWARD');
  if (forward === undefined) return false;
  const ends = (ChainFacts.of(table, 'FORWARD')?.endIn(table) ?? -1) >= 0;
  return forward.policy === 'DROP' || ends || dropsFromPeers(table);
}

/** Whether Docker keeps its rules here, so that its drops are here or may come with the next container. */
export const hasDocker = (saved: SavedTables): boolean =>
  saved.get('filter')?.has('DOCKER-USER') === true ||
  saved.get('filter')?.has('DOCKER') === true ||
  dropsDirectAccess(saved.get('raw') ?? new Map());

/** Whether Docker's drops of engine 28 and later are here, or its chain under which they come. It makes that chain at its start. */
export const hasDirectDrops = (saved: SavedTables): boolean =>
  saved.get('filter')?.has('DOCKER-FORWARD') === true ||
  dropsFromPeers(saved.get('filter') ?? new Map()) ||
  dropsDirectAccess(saved.get('raw') ?? new Map());

/** The number of rules outside of our chains. It shows which iptables a host uses. */
export function countForeignRules(saved: SavedTables): number {
  let count = 0;
  for (const table of saved.values()) {
    for (const [name, { policy, rules }] of table) {
      if (policy === 'DROP') count++;
      if (!isOurs(name)) count += rules.filter(({ target }) => !isOurs(target ?? '')).length;
    }
  }
  return count;
}

const isOurs = (chain: string): boolean => /^FLANNEL-(POSTRTG|FWD|DOCKER|RAW|MARK)\b/.test(chain);

function ownChains(saved: SavedTables, wanted: FamilyRules, names: Names): OwnChain[] {
  const filter: SavedTable = saved.get('filter') ?? new Map();
  // Once made, it stays as long as Docker's hook: a restart of Docker removes its drops and adds
  // them again.
  const underDocker =
    filter.has('DOCKER-USER') &&
    (filter.has('DOCKER-FORWARD') || dropsFromPeers(filter) || filter.has(names.fromPeers));
  const forward = { table: 'filter', comment: 'flanneld forward', bare: [], place: 'last' } as const;
  const prerouting = { parent: 'PREROUTING', bare: [] };
  return [
    {
      table: 'nat',
      parent: 'POSTROUTING',
      name: names.masquerade,
      comment: 'flanneld masq',
      rules: wanted.masquerade,
      bare: wanted.bare.masquerade,
      place: 'last',
    },
    { ...forward, parent: 'FORWARD', name: names.forward, rules: wanted.forward, bare: wanted.bare.forward },
    {
      ...forward,
      parent: 'DOCKER-USER',
      name: names.fromPeers,
      rules: underDocker ? wanted.fromPeers : [],
    },
    {
      ...prerouting,
      table: 'mangle',
      name: names.mark,
      comment: 'flanneld mark',
      rules: wanted.mark,
      // What restores a connection's mark comes before it and can't clear the bit.
      place: 'last',
    },
    {
      ...prerouting,
      table: 'raw',
      name: names.raw,
      comment: 'flanneld raw',
      rules: wanted.raw,
      place: 'first',
    },
  ];
}

/** Docker 28 and later: what did not come from the bridge itself does not go into it. No rule after it can help. */
const dropsFromPeers = (filter: SavedTable): boolean =>
  (filter.get('DOCKER')?.rules ?? []).some(
    ({ target, options }) =>
      target === 'DROP' &&
      /^! -i /.test(options[0] ?? '') &&
      options.length === 3 &&
      /^-o /.test(options[2] ?? ''),
  );

/** Docker 28 and later: what arrives for a container's address by another device than its bridge goes no further. */
const dropsDirectAccess = (raw: SavedTable): boolean =>
  (raw.get('PREROUTING')?.rules ?? []).some(
    ({ target, options }) =>
      target === 'DROP' &&
      options.length === 3 &&
      options.some((option) => /^! -i /.test(option)) &&
      options.some((option) => /^-d \S+\/(?:32|128)$/.test(option)),
  );

function mend(table: SavedTable, chain: OwnChain, lines: Lines): string[] {
  const bare = bareRules(table, chain);
  const faults = bare.map(({ text }) => `${chain.table} ${chain.parent}: rule of an older flannel: ${text}`);
  lines.remove.push(...bare.map(({ text }) => `-D ${chain.parent} ${text}`));
  if (chain.rules.length === 0) return [...faults, ...removeChain(table, chain, lines)];
  return [...faults, ...fillChain(table, chain, lines), ...placeJump(table, chain, bare, lines)];
}

/** Every copy of a rule that flannel 0.9 to 0.19 wrote; the later of them with a comment and random ports. */
function bareRules(table: SavedTable, { parent, bare }: OwnChain): SavedRule[] {
  const facts = ChainFacts.of(table, parent);
  if (facts === undefined) return [];
  const known = new Set(bare.map((rule) => plainText(parseRule(formatRule(rule)))));
  const found = Array.from(known, (text) => facts.like(text)).flat();
  return found.sort((a, b) => facts.placeOf(a) - facts.placeOf(b));
}

function fillChain(
  table: SavedTable,
  { table: tableName, name, comment, rules }: OwnChain,
  lines: Lines,
): string[] {
  const texts = rules.map((rule) => formatRule(rule, comment));
  const wanted = texts.map(keyOf);
  const found = table.get(name)?.rules.map(({ options }) => options.join(' '));
  if (found !== undefined && found.join('\n') === wanted.join('\n')) return [];
  // Declaring a chain that is there empties it.
  lines.declare.push(`:${name} - [0:0]`);
  lines.add.push(...texts.map((text) => `-A ${name} ${text}`));
  if (found === undefined) return [`${tableName} ${name}: no such chain`];
  const missing = texts.filter((_, index) => !found.includes(wanted[index] ?? ''));
  if (missing.length === 0) return [`${tableName} ${name}: other rules, or another order`];
  return missing.map((text) => `${tableName} ${name}: missing ${text}`);
}

/**
 * One jump, first or last in the parent. Last is before a rule that ends the chain for every packet (a REJECT at the end,
 * the RETURN in DOCKER-USER). First is behind nothing but the jumps of our other networks.
 */
function placeJump(table: SavedTable, chain: OwnChain, bare: readonly SavedRule[], lines: Lines): string[] {
  const { parent, name, comment } = chain;
  const rules = table.get(parent)?.rules ?? [];
  const text = `-m comment --comment "${comment}" -j ${name}`;
  const facts = ChainFacts.of(table, parent);
  const jumps = facts?.withTarget(name) ?? [];
  const [only] = jumps;
  const before = only && facts && wronglyBefore(table, chain, facts, only);
  let fault = `no jump to ${name}`;
  if (jumps.length > 1) fault = `${jumps.length} jumps to ${name}`;
  else if (only !== undefined && only.options.join(' ') !== keyOf(text))
    fault = `the jump to ${name} differs`;
  else if (before !== undefined) fault = `the jump to ${name} is behind "${before.text}"`;
  else if (only !== undefined) return [];

  lines.remove.push(...jumps.map((jump) => `-D ${parent} ${jump.text}`));
  const kept = rules.filter((rule) => !jumps.includes(rule) && !bare.includes(rule));
  const number = chain.place === 'first' ? 1 : endOf(table, kept, parent) + 1;
  lines.add.push(number === 0 ? `-A ${parent} ${text}` : `-I ${parent} ${number} ${text}`);
  return [`${chain.table} ${parent}: ${fault}`];
}

/** The rule that must not stand before the jump, if there is one. */
function wronglyBefore(
  table: SavedTable,
  { place, parent }: OwnChain,
  facts: ChainFacts,
  jump: SavedRule,
): SavedRule | undefined {
  const rules = table.get(parent)?.rules ?? [];
  const at = place === 'first' ? rules.findIndex(({ target }) => !isOurs(target ?? '')) : facts.endIn(table);
  return at < facts.placeOf(jump) ? rules[at] : undefined;
}

function removeChain(table: SavedTable, { table: tableName, name }: OwnChain, lines: Lines): string[] {
  if (!table.has(name)) return [];
  lines.declare.push(`:${name} - [0:0]`);
  for (const parent of table.keys()) {
    const jumps = ChainFacts.of(table, parent)?.withTarget(name) ?? [];
    if (parent !== name) lines.remove.push(...jumps.map(({ text }) => `-D ${parent} ${text}`));
  }
  lines.drop.push(`-X ${name}`);
  return [`${tableName} ${name}: not wanted`];
}

const keyOf = (text: string): string => parseRule(text).options.join(' ');

/** The rule in iptables' words, as flannel writes it: the comment before the target. */
function formatRule(rule: Rule, comment?: string): string {
  const words: string[] = [];
  if (rule.marked) words.push(`-m mark --mark ${bitOf(MASQUERADE_MARK)}`);
  if (rule.from) words.push(formatMatch('-s', rule.from));
  if (rule.to) words.push(formatMatch('-d', rule.to));
  if (rule.by !== undefined) words.push(`-i ${rule.by}`);
  if (comment !== undefined) words.push(`-m comment --comment "${comment}"`);
  words.push(`-j ${rule.verdict.toUpperCase()}`);
  if (rule.mark !== undefined) words.push(`--set-xmark ${bitOf(rule.mark)}`);
  if (rule.randomFully) words.push('--random-fully');
  return words.join(' ');
}

/** Value and mask. */
const bitOf = (bit: number): string => `0x${bit.toString(16)}/0x${bit.toString(16)}`;

const formatMatch = (option: string, { prefix, not }: Match): string =>
  `${not ? '! ' : ''}${option} ${formatPrefix(prefix)}`;
