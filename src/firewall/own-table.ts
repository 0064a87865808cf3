import { type NftTable, parseNftTable } from '#src/firewall/nft-listing.ts';
import type { Change } from '#src/firewall/rules.ts';
import { formatIpv6, ipv6, parseIpv6 } from '#src/lib/ip.ts';
import { sha256Hex } from '#src/lib/sha256.ts';

/**
 * A table of nftables that is ours alone: rules that stay, and sets whose elements come and go one by one. What the rules
 * decide for a container is an element, so that the thousandth costs what the first did.
 */
export interface OwnTable {
  readonly family: 'inet' | 'bridge';
  readonly name: string;
  readonly sets: readonly OwnSet[];
  /** Names of counters, which the rules use. */
  readonly counters: readonly string[];
  readonly chains: readonly OwnChain[];
}

export interface OwnSet {
  readonly name: string;
  readonly fields: readonly Field[];
}

/** One part of an element. `nd-target` is the target of a neighbour solicitation or advertisement, as an IPv6 address. */
export type Field = 'ifname' | 'ether_addr' | 'ipv4_addr' | 'ipv6_addr' | 'nd-target';

export interface OwnChain {
  readonly name: string;
  /** Absent: other chains lead here. All are filters. */
  readonly base?: { readonly hook: string; readonly priority: number; readonly policy: 'accept' | 'drop' };
  readonly rules: readonly OwnRule[];
}

export interface OwnRule {
  /** In nft's words. */
  readonly text: string;
  readonly comment: string;
}

export interface Element {
  readonly set: string;
  /** One for each field of the set, as {@link Field} says, addresses in their usual text. */
  readonly parts: readonly string[];
}

/** Bits 64 to 191 of the ICMPv6 message (RFC 4861 §4.3, §4.4). nft before 1.0.9 has no word for them. */
export const ND_TARGET = '@th,64,128';

/** The transaction for `nft -f -` that makes the whole table in one step, whatever was there. */
export function makeTable(table: OwnTable, elements: Iterable<Element>): string {
  const lines = [
    // Adding it first makes the deletion good whether it is there or not.
    `add table ${placeOf(table)}`,
    `delete table ${placeOf(table)}`,
    `table ${placeOf(table)} {`,
    ...table.counters.map((name) => `\tcounter ${name} {}`),
    ...table.sets.flatMap((set) => [`\tset ${set.name} {`, `\t\t${typeOf(set)}`, '\t}']),
    ...table.chains.flatMap(({ name, base }) => [
      `\tchain ${name} {`,
      ...(base === undefined
        ? []
        : [`\t\ttype filter hook ${base.hook} priority ${base.priority}; policy ${base.policy};`]),
      '\t}',
    ]),
    ...table.chains.flatMap(({ name }) => [
      `\tchain ${name} {`,
      ...commentedRules(table, name).map(({ text, comment }) => `\t\t${text} comment "${comment}"`),
      '\t}',
    ]),
    '}',
  ];
  return `${lines.join('\n')}\n${changeElements(table, { add: elements })}`;
}

/** The transaction that takes the table away, whether it is there or not. */
export const removeTable = (table: OwnTable): string =>
  `add table ${placeOf(table)}\ndelete table ${placeOf(table)}\n`;

/** The transaction that adds and removes elements. The kernel refuses all of it when one of those to remove is not there. */
export function changeElements(
  table: OwnTable,
  { add = [], remove = [] }: { readonly add?: Iterable<Element>; readonly remove?: Iterable<Element> },
): string {
  const lines: string[] = [];
  for (const [verb, elements] of [
    ['delete', remove],
    ['add', add],
  ] as const) {
    const bySet = new Map<string, string[]>();
    for (const { set, parts } of elements) {
      const { fields } = setOf(table, set);
      const text = parts.map((part, index) => formatPart(part, fields[index])).join(' . ');
      const texts = bySet.get(set) ?? [];
      texts.push(text);
      bySet.set(set, texts);
    }
    for (const [set, texts] of bySet) {
      lines.push(`${verb} element ${placeOf(table)} ${set} { ${texts.join(', ')} }\n`);
    }
  }
  return lines.join('');
}

/**
 * What to feed to `nft -f -` so that the table is as wanted. `listing` is the output of `nft -j list table`, `undefined`
 * when there is no such table. Rules that are not as wanted: the whole table is replaced, and its counters begin at 0. Only
 * elements: they are added and removed.
 *
 * A rule is known by its comment, because each nft lists a rule in words of its own; a digest of all rules is in the first
 * comment. nft can't change a rule, only replace it.
 */
export function changeTable(
  listing: string | undefined,
  table: OwnTable,
  elements: Iterable<Element>,
): Change {
  const wanted = new Map(Array.from(elements, (element) => [idOf(element), element]));
  const where = `table ${placeOf(table)}`;
  if (listing === undefined) {
    return { faults: [`${where}: no such table`], transaction: makeTable(table, wanted.values()) };
  }
  const found = parseNftTable(listing);
  const there = new Map<string, Element>();
  const faults = faultsOf(found, table);
  for (const { name, elem } of found.sets) {
    for (const value of elem ?? []) {
      const element = readElement(table, name, value);
      if (element === undefined) faults.push(`set ${name}: an element that is not ours`);
      else there.set(idOf(element), element);
    }
  }
  if (faults.length > 0) {
    return {
      faults: faults.map((fault) => `${where}: ${fault}`),
      transaction: makeTable(table, wanted.values()),
    };
  }
  const add = [...wanted].filter(([id]) => !there.has(id)).map(([, element]) => element);
  const remove = [...there].filter(([id]) => !wanted.has(id)).map(([, element]) => element);
  return {
    faults: [
      ...(add.length === 0 ? [] : [`${where}: ${add.length} elements are missing`]),
      ...(remove.length === 0 ? [] : [`${where}: ${remove.length} elements are not wanted`]),
    ],
    transaction: changeElements(table, { add, remove }),
  };
}

/** Those elements that the others do not have. */
export function elementsWithout(elements: readonly Element[], others: readonly Element[]): Element[] {
  const ids = new Set(others.map(idOf));
  return elements.filter((element) => !ids.has(idOf(element)));
}

/** Packets that each counter has counted, of `nft -j list counters table`. */
export function readCounters(listing: string): ReadonlyMap<string, number> {
  const { counters } = parseNftTable(listing);
  return new Map(counters.map(({ name, packets }) => [name, packets]));
}

/** Family and name, as nft's commands want them. */
export const placeOf = ({ family, name }: OwnTable): string => `${family} ${name}`;

/** The same text for the same element. */
export const idOf = ({ set, parts }: Element): string => `${set} ${parts.join(' ')}`;

function faultsOf(found: NftTable, table: OwnTable): string[] {
  const faults: string[] = [];
  for (const { name, base } of table.chains) {
    const chain = found.chains.find((it) => it.name === name);
    const rules = found.rules.filter((rule) => rule.chain === name).map(({ comment }) => comment ?? '');
    const wanted = commentedRules(table, name).map(({ comment }) => comment);
    if (chain === undefined) faults.push(`${name}: no such chain`);
    else if (chain.hook !== base?.hook || chain.prio !== base?.priority || chain.policy !== base?.policy) {
      faults.push(`${name}: another hook, priority or policy`);
    } else if (rules.join('\n') !== wanted.join('\n')) faults.push(`${name}: not the rules of this version`);
  }
  const missing = table.sets.filter(({ name }) => !found.sets.some((set) => set.name === name));
  const strange = found.chains.filter(({ name }) => !table.chains.some((chain) => chain.name === name));
  return [
    ...faults,
    ...missing.map(({ name }) => `set ${name}: no such set`),
    ...strange.map(({ name }) => `${name}: not wanted`),
  ];
}

/** The rules of a chain. The very first of the table carries the digest of all that is not an element. */
function commentedRules(table: OwnTable, chain: string): OwnRule[] {
  const rules = table.chains.find(({ name }) => name === chain)?.rules ?? [];
  if (table.chains[0]?.name !== chain) return [...rules];
  const digest = sha256Hex(JSON.stringify(table)).slice(0, DIGEST_LENGTH);
  return rules.map((rule, index) =>
    index === 0 ? { ...rule, comment: `${rule.comment}; ${digest}` } : rule,
  );
}

/** Hex digits. Versions have to differ, nobody forges one. */
const DIGEST_LENGTH = 8;

const TYPES: Readonly<Record<Field, { readonly type: string; readonly expression: string }>> = {
  ifname: { type: 'ifname', expression: 'iifname' },
  ether_addr: { type: 'ether_addr', expression: 'ether saddr' },
  ipv4_addr: { type: 'ipv4_addr', expression: 'ip saddr' },
  ipv6_addr: { type: 'ipv6_addr', expression: 'ip6 saddr' },
  'nd-target': { type: '', expression: ND_TARGET },
};

/** A part without a type of its own has to be named by an expression, and then all have to. */
function typeOf({ fields }: OwnSet): string {
  return fields.includes('nd-target')
    ? `typeof ${fields.map((field) => TYPES[field].expression).join(' . ')}`
    : `type ${fields.map((field) => TYPES[field].type).join(' . ')}`;
}

function setOf(table: OwnTable, name: string): OwnSet {
  const set = table.sets.find((it) => it.name === name);
  if (set === undefined) throw new TypeError(`table ${placeOf(table)} has no set ${name}`);
  return set;
}

function formatPart(part: string, field: Field | undefined): string {
  if (field === 'ifname') return JSON.stringify(part);
  if (field !== 'nd-target') return part;
  const target: bigint = parseIpv6(part) ?? 0n;
  return `0x${target.toString(16).padStart(32, '0')}`;
}

/** A listed element; `undefined` for what no element of ours looks like. */
function readElement(table: OwnTable, name: string, listed: unknown): Element | undefined {
  const set = table.sets.find((it) => it.name === name);
  // A text has a method `concat`.
  const { elem, concat } = (typeof listed === 'object' ? (listed ?? {}) : {}) as {
    elem?: { val?: unknown };
    concat?: readonly unknown[];
  };
  if (elem?.val !== undefined) return readElement(table, name, elem.val);
  const parts = (concat ?? [listed]).map((part, index) => readPart(part, set?.fields[index]));
  if (set === undefined || parts.length !== set.fields.length) return undefined;
  const known = parts.filter((part) => part !== undefined);
  return known.length === parts.length ? { set: name, parts: known } : undefined;
}

function readPart(listed: unknown, field: Field | undefined): string | undefined {
  if (field === 'nd-target') return readTarget(listed);
  if (typeof listed !== 'string' || field !== 'ipv6_addr')
    return typeof listed === 'string' ? listed : undefined;
  // nft prints them as glibc does: ::1:2 as ::0.1.0.2.
  const address = parseIpv6(listed);
  return address === undefined ? undefined : formatIpv6(address);
}

/** A number to nft, in whichever way it prints numbers of this size. */
function readTarget(listed: unknown): string | undefined {
  if (typeof listed === 'number') return formatIpv6(ipv6(BigInt(listed)));
  if (typeof listed !== 'string') return undefined;
  if (/^(0x[0-9a-f]+|\d+)$/.test(listed)) return formatIpv6(ipv6(BigInt(listed)));
  return readPart(listed, 'ipv6_addr');
}
