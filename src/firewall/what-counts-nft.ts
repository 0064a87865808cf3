import type { NftRule, NftStatement, NftTable, PlacedTable } from '#src/firewall/nft-listing.ts';
import { type SeenFilters, sees } from '#src/firewall/packet-drops.ts';
import { type Answer, all } from '#src/firewall/packet-walk.ts';
import { answerOf, verdictOf, withElements } from '#src/firewall/walk-nft.ts';
import type { CountingRule, CrossingPacket } from '#src/firewall/what-counts.ts';

/** The part of {@link rulesThatCount} that is nftables' own. */
export function* nftCounting({ nftables }: SeenFilters, crossing: CrossingPacket): Generator<CountingRule> {
  for (const placed of nftables) {
    const { family, name, table } = placed;
    if (isOwn(name)) continue;
    for (const base of table.chains) {
      const { hook, type } = base;
      if (hook === undefined || type === 'nat') continue;
      const isThere =
        family === 'bridge' || (crossing.hooks.includes(hook) && sees(family, base, crossing.packet));
      if (!isThere || (family === 'bridge' && crossing.packet.carries?.port !== undefined)) continue;
      const found: CountingRule[] = [];
      walk({ placed, crossing, found }, base.name, 0);
      yield* found;
    }
  }
}

/** Tables of weft's, of flannel's. */
const isOwn = (table: string): boolean => /^(?:flannel-ipv[46]|weft)/.test(table);

interface Walk {
  readonly placed: PlacedTable;
  readonly crossing: CrossingPacket;
  readonly found: CountingRule[];
}

/** Whether all such packets end in the chain. */
function walk(it: Walk, chain: string, depth: number): boolean {
  const { table } = it.placed;
  if (depth > MOST_DEPTH) return false;
  for (const rule of table.rules) {
    if (rule.chain !== chain) continue;
    const end = step(it, rule, table, depth);
    if (end !== undefined) return end === 'ended';
  }
  return false;
}

/** Where such packets certainly go after the rule; `undefined`: on to the next rule, all or some of them. */
function step(it: Walk, rule: NftRule, table: NftTable, depth: number): 'ended' | 'back' | undefined {
  const { found, placed } = it;
  const answers: Answer[] = [];
  for (const given of rule.expr ?? []) {
    const statement = withElements(given, table.sets);
    if (all(answers) === 'no') return undefined;
    const why = whyOf(statement);
    if (why !== undefined) {
      const place = `nftables, table ${placed.family} ${placed.name}, chain ${rule.chain}`;
      found.push({ place, rule: rule.comment ?? JSON.stringify(given), why });
    }
    const verdict = verdictOf(statement);
    if (verdict === undefined) {
      for (const target of targetsOf(statement, table)) walk(it, target, depth + 1);
      answers.push(answerIn(it, statement));
      continue;
    }
    const isCertain = all(answers) === 'yes';
    if (verdict === 'accept' || verdict === 'drop') return isCertain ? 'ended' : undefined;
    if (verdict === 'return') return isCertain ? 'back' : undefined;
    if (verdict === 'none') continue;
    const ended = walk(it, 'jump' in verdict ? verdict.jump : verdict.goto, depth + 1);
    if (!isCertain) return undefined;
    return ended ? 'ended' : 'goto' in verdict ? 'back' : undefined;
  }
  return undefined;
}

/** A bridge's rules see the ports of the containers, whose names are not known here. */
function answerIn({ placed, crossing }: Walk, statement: NftStatement): Answer {
  const { left } = (statement.match ?? {}) as { left?: { meta?: { key?: unknown } } };
  const isDevice = /^[io]if/.test(String(left?.meta?.key ?? ''));
  return placed.family === 'bridge' && isDevice ? 'unknown' : answerOf(statement, crossing.packet);
}

/** The chains that a verdict map leads to. */
function targetsOf({ vmap }: NftStatement, { maps }: NftTable): string[] {
  if (vmap === undefined) return [];
  const { data } = vmap as { data?: unknown };
  const elements =
    typeof data === 'string'
      ? maps.find(({ name }) => `@${name}` === data)?.elem
      : (data as { set?: readonly unknown[] } | undefined)?.set;
  return (elements ?? []).flatMap((element) => {
    const verdict = verdictOf((Array.isArray(element) ? (element[1] ?? {}) : {}) as NftStatement);
    if (typeof verdict !== 'object') return [];
    return 'jump' in verdict ? verdict.jump : verdict.goto;
  });
}

const MOST_DEPTH = 16;

/** By the names of the statements (libnftables-json(5)). */
const STATEMENTS: Readonly<Record<string, string>> = {
  limit: 'limits a rate',
  quota: 'counts bytes',
  log: 'writes packets to the log',
  queue: 'gives packets to a program',
  tproxy: 'gives packets to a proxy',
  dup: 'copies packets',
  fwd: 'copies packets',
  meter: 'measures a rate',
};

/** By the name of what a match compares. */
const MATCHES: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/"numgen"|"key":"random"/, 'picks some of the packets'],
  [/"key":"(?:bytes|packets|avgpkt)"/, 'counts a connection’s packets'],
  [/"field":"length"|"key":"length"/, 'looks at each packet’s length'],
  [/"field":"(?:ttl|dscp|ecn)"/, 'looks at each packet’s TTL or TOS'],
  [/"payload":\{"base"/, 'reads each packet'],
];

function whyOf(statement: NftStatement): string | undefined {
  for (const name of Object.keys(statement)) if (name in STATEMENTS) return STATEMENTS[name];
  // One without a name is in every rule of some programs.
  if (typeof statement.counter === 'string') return 'counts packets';
  const { op } = (statement.set ?? {}) as { op?: unknown };
  if (op === 'update' || op === 'add') return 'notes when packets come';
  if (statement.mangle !== undefined)
    return JSON.stringify(statement.mangle).includes('"meta"') ? 'marks packets' : 'changes packets';
  if (statement.match === undefined) return undefined;
  const left = JSON.stringify((statement.match as { left?: unknown }).left ?? null);
  return MATCHES.find(([pattern]) => pattern.test(left))?.[1];
}
