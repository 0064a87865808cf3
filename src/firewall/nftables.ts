import { type NftStatement, parseNftTable } from '#src/firewall/nft-listing.ts';
import {
  type Change,
  type Family,
  type FamilyRules,
  MASQUERADE_MARK,
  type Match,
  type Names,
  type Rule,
} from '#src/firewall/rules.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';

interface OwnChain {
  readonly name: string;
  /** What makes a chain a base chain: its type, hook, priority (by number, as it is listed) and policy. */
  readonly base: string;
  readonly type: string;
  readonly comment: string;
  readonly rules: readonly string[];
}

/**
 * What to feed to `nft -f -` so that one family's table is as wanted: the whole table is ours, and is replaced in one
 * step. `listing` is the output of `nft -j list table`, `undefined` when there is no such table. `comments`: nft
 * before 0.9.9 can't read comments on chains.
 */
export function changeNftables(
  listing: string | undefined,
  family: Family,
  wanted: FamilyRules,
  names: Names,
  comments = true,
): Change {
  const table = `${nftFamily(family)} ${names.table(family)}`;
  const chains = ownChains(family, wanted);
  if (chains.length === 0) {
    if (listing === undefined) return { faults: [], transaction: '' };
    return { faults: [`table ${table}: not wanted`], transaction: `delete table ${table}\n` };
  }
  const faults =
    listing === undefined ? [`table ${table}: no such table`] : faultsOf(listing, family, table, chains);
  if (faults.length === 0) return { faults, transaction: '' };
  const lines = [
    // Adding it first makes the deletion good whether it is there or not.
    `add table ${table}`,
    `delete table ${table}`,
    `table ${table} {`,
    ...(comments ? [`\tcomment "rules for ${names.table(family)}"`] : []),
    ...chains.flatMap((chain) => [
      `\tchain ${chain.name} {`,
      ...(comments ? [`\t\tcomment "${chain.comment}"`] : []),
      `\t\t${chain.type}`,
      ...chain.rules.map((rule) => `\t\t${rule}`),
      '\t}',
    ]),
    '}',
  ];
  return { faults, transaction: `${lines.join('\n')}\n` };
}

export const nftFamily = (family: Family): 'ip' | 'ip6' => (family === 4 ? 'ip' : 'ip6');

/**
 * flannel 0.28's chains (pkg/trafficmngr/nftables), but for two rules in which it departs from its own iptables form:
 * its fourth rule returns for everything that goes from outside our subnet into the network, so that the last one never
 * matches and a peer's container sees an address that it can't answer to; and it compares the whole mark, so that a
 * packet which carries another program's bit as well is masqueraded twice. Here both say what iptables says.
 */
function ownChains(family: Family, wanted: FamilyRules): OwnChain[] {
  const chains: OwnChain[] = [
    {
      name: 'forward',
      base: 'filter forward 0 accept',
      type: 'type filter hook forward priority 0; policy accept;',
      comment: 'chain to accept flannel traffic',
      rules: wanted.forward.map((rule) => formatRule(rule, family)),
    },
    {
      name: 'postrtg',
      base: 'nat postrouting 100 accept',
      type: 'type nat hook postrouting priority 100; policy accept;',
      comment: 'chain to manage traffic masquerading by flannel',
      rules: wanted.masquerade.map((rule) => formatRule(rule, family)),
    },
    {
      name: 'fwmark',
      base: 'filter prerouting -150 accept',
      type: 'type filter hook prerouting priority -150; policy accept;',
      comment: 'chain to mark what peers send, for docker',
      rules: wanted.mark.map((rule) => formatRule(rule, family)),
    },
  ];
  return chains.filter(({ rules }) => rules.length > 0);
}

function faultsOf(listing: string, family: Family, table: string, wanted: readonly OwnChain[]): string[] {
  const { chains, rules } = parseNftTable(listing);
  const faults: string[] = [];
  for (const chain of wanted) {
    const there = chains.find(({ name }) => name === chain.name);
    const found = rules
      .filter((rule) => rule.chain === chain.name)
      .map(({ expr }) => readRule(expr ?? [], family));
    const missing = chain.rules.filter((rule) => !found.includes(rule));
    const place = `table ${table} ${chain.name}`;
    if (there === undefined) faults.push(`${place}: no such chain`);
    else if ([there.type, there.hook, there.prio, there.policy].join(' ') !== chain.base) {
      faults.push(`${place}: not "${chain.base}"`);
    } else if (missing.length > 0) faults.push(...missing.map((rule) => `${place}: missing ${rule}`));
    else if (found.join('\n') !== chain.rules.join('\n')) {
      faults.push(`${place}: other rules, or another order`);
    }
  }
  const strange = chains.filter(({ name }) => !wanted.some((chain) => chain.name === name));
  return [...faults, ...strange.map(({ name }) => `table ${table} ${name}: not wanted`)];
}

const MARK = `meta mark & ${MASQUERADE_MARK} == ${MASQUERADE_MARK}`;

/** The rule in nft's words. */
function formatRule(rule: Rule, family: Family): string {
  const words: string[] = [];
  if (rule.by !== undefined) words.push(`iifname ${JSON.stringify(rule.by)}`);
  if (rule.marked) words.push(MARK);
  if (rule.from) words.push(formatMatch('saddr', rule.from, family));
  if (rule.to) words.push(formatMatch('daddr', rule.to, family));
  words.push(rule.mark === undefined ? rule.verdict : formatMark(rule.mark));
  if (rule.randomFully) words.push('fully-random');
  return words.join(' ');
}

const formatMark = (bit: number): string => `meta mark set meta mark | ${bit}`;

function formatMatch(field: string, { prefix, not }: Match, family: Family): string {
  const whole = prefix.length === (family === 4 ? 32 : 128);
  const text = whole ? formatIp(prefix.address) : formatPrefix(prefix);
  return `${nftFamily(family)} ${field} ${not ? '!= ' : ''}${text}`;
}

/** A listed rule in the words of {@link formatRule}; what it has no words for reads as JSON, which no wanted rule does. */
function readRule(statements: readonly NftStatement[], family: Family): string {
  return statements
    .filter((statement) => !('counter' in statement))
    .map((statement) => readStatement(statement, family) ?? JSON.stringify(statement))
    .join(' ');
}

function readStatement(statement: NftStatement, family: Family): string | undefined {
  for (const verdict of ['accept', 'return']) if (verdict in statement) return verdict;
  if ('masquerade' in statement) {
    const { flags } = (statement.masquerade ?? {}) as { flags?: string | readonly string[] };
    return flags === undefined ? 'masquerade' : `masquerade ${[flags].flat().join(',')}`;
  }
  if ('mangle' in statement) return readMark(statement.mangle);
  const { op, left, right } = (statement.match ?? {}) as { op?: string; left?: unknown; right?: unknown };
  const [test, to] = [JSON.stringify(left), JSON.stringify(right)];
  const mark = JSON.stringify({ '&': [{ meta: { key: 'mark' } }, MASQUERADE_MARK] });
  if (test === mark && op === '==' && right === MASQUERADE_MARK) return MARK;
  if (test === IIFNAME && op === '==' && typeof right === 'string') return `iifname ${JSON.stringify(right)}`;
  for (const field of ['saddr', 'daddr']) {
    if (test !== JSON.stringify({ payload: { protocol: nftFamily(family), field } })) continue;
    const { addr, len } = /^"/.test(to) ? { addr: right, len: undefined } : prefixOf(right);
    return `${nftFamily(family)} ${field} ${op === '!=' ? '!= ' : ''}${addr}${len === undefined ? '' : `/${len}`}`;
  }
  return undefined;
}

const META_MARK = { meta: { key: 'mark' } };
const IIFNAME = JSON.stringify({ meta: { key: 'iifname' } });

function readMark(statement: unknown): string | undefined {
  const { key, value } = (statement ?? {}) as { key?: unknown; value?: { '|'?: readonly unknown[] } };
  const [left, bit] = value?.['|'] ?? [];
  const isMark = [key, left].every((side) => JSON.stringify(side) === JSON.stringify(META_MARK));
  return isMark && typeof bit === 'number' ? formatMark(bit) : undefined;
}

function prefixOf(value: unknown): { addr?: unknown; len?: unknown } {
  return (value as { prefix?: { addr?: unknown; len?: unknown } } | undefined)?.prefix ?? {};
}
