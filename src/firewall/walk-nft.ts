import type { NftMap, NftRule, NftSet, NftStatement, NftTable } from '#src/firewall/nft-listing.ts';
import {
  type Answer,
  all,
  carries,
  goesToPort,
  isDevice,
  isForHost,
  isIn,
  isInState,
  isMarked,
  not,
  type Packet,
  type Verdict,
  type WalkChain,
  type WalkRule,
} from '#src/firewall/packet-walk.ts';
import { type Prefix, parsePrefix } from '#src/lib/ip.ts';

/** A table of nftables, its conditions answered for one packet. */
export function walkNft({ chains, rules, maps, sets }: NftTable, packet: Packet): Map<string, WalkChain> {
  const walked = new Map(
    chains.map(({ name, policy }) => [
      name,
      { policy: policy === 'drop' ? ('drop' as const) : ('accept' as const), rules: [] as WalkRule[] },
    ]),
  );
  for (const rule of rules) {
    const expr = rule.expr?.map((statement) => withElements(statement, sets));
    walked.get(rule.chain)?.rules.push(...walkRules({ ...rule, ...(expr && { expr }) }, maps, packet));
  }
  return walked;
}

/**
 * A condition that names a set of its table, with what is in there now. What packets put into a set may be another thing when the
 * next one comes: such a set stays a name.
 */
export function withElements(statement: NftStatement, sets: readonly NftSet[]): NftStatement {
  const { right, ...match } = (statement.match ?? {}) as { readonly right?: unknown };
  const set = sets.find(({ name }) => `@${name}` === right);
  if (set === undefined || [set.flags].flat().includes('dynamic')) return statement;
  return { ...statement, match: { ...match, right: { set: (set.elem ?? []).map(elementValue) } } };
}

/** One with a timeout or a counter is `{elem: {val: …}}`. */
const elementValue = (element: unknown): unknown =>
  (element as { elem?: { val?: unknown } } | null)?.elem?.val ?? element;

/** Mostly one; a verdict map with answers that are not certain is one for each of its elements. */
function walkRules({ expr = [], comment }: NftRule, maps: readonly NftMap[], packet: Packet): WalkRule[] {
  const answers: Answer[] = [];
  for (const statement of expr) {
    const verdict = verdictOf(statement);
    if (verdict !== undefined) {
      return [{ holds: all(answers), verdict, text: comment ?? Object.keys(statement).join() }];
    }
    if ('vmap' in statement) return walkVmap(statement.vmap, maps, packet, answers, comment);
    answers.push(answerOf(statement, packet));
  }
  return [];
}

function walkVmap(
  vmap: unknown,
  maps: readonly NftMap[],
  packet: Packet,
  before: readonly Answer[],
  comment: string | undefined,
): WalkRule[] {
  const { key, data } = vmap as { key?: unknown; data?: unknown };
  const elements =
    typeof data === 'string'
      ? maps.find(({ name }) => `@${name}` === data)?.elem
      : (data as { set?: readonly unknown[] } | undefined)?.set;
  return (elements ?? []).flatMap((element) => {
    const [value, statement] = Array.isArray(element) ? element : [];
    const verdict = verdictOf((statement ?? {}) as NftStatement);
    if (verdict === undefined) return [];
    const holds = all([...before, equals(key, value, packet)]);
    return [{ holds, verdict, text: comment ?? Object.keys(statement as object).join() }];
  });
}

export function verdictOf(statement: NftStatement): Verdict | undefined {
  if ('accept' in statement || 'queue' in statement) return 'accept';
  if ('drop' in statement || 'reject' in statement) return 'drop';
  if ('return' in statement) return 'return';
  for (const kind of ['jump', 'goto'] as const) {
    const { target } = (statement[kind] ?? {}) as { target?: unknown };
    if (typeof target === 'string') return kind === 'jump' ? { jump: target } : { goto: target };
  }
  return undefined;
}

/** Statements that do something and hold for every packet. */
const ACTIONS = ['counter', 'log', 'comment', 'mangle', 'notrack', 'set', 'ct helper', 'continue'];

/** Whether a statement lets such packets go on to the next one of its rule. */
export function answerOf(statement: NftStatement, packet: Packet): Answer {
  if (ACTIONS.some((action) => action in statement)) return 'yes';
  if (!('match' in statement)) return 'unknown';
  const { op, left, right } = statement.match as { op?: string; left?: unknown; right?: unknown };
  if (op === '!=') return not(equals(left, right, packet));
  return op === undefined || op === '==' || op === 'in' ? equals(left, right, packet) : 'unknown';
}

/** Whether what `left` names of the packet is `right`, or one of its set. */
function equals(left: unknown, right: unknown, packet: Packet): Answer {
  const values = (right as { set?: readonly unknown[] } | undefined)?.set ?? right;
  if (Array.isArray(values)) {
    const answers = values.map((value) => equals(left, value, packet));
    for (const answer of ['yes', 'unknown', 'some'] as const) if (answers.includes(answer)) return answer;
    return 'no';
  }
  if (typeof values === 'string' && values.startsWith('@')) return 'unknown';
  const {
    meta,
    ct,
    payload,
    fib,
    '&': bits,
  } = (left ?? {}) as Record<string, Readonly<Record<string, unknown>>>;
  if (meta !== undefined) return metaIs(String(meta.key), values, packet);
  if (ct?.key === 'state') return isInState(packet, [String(values)]);
  // The packet is neither a connection's later one nor translated.
  if (ct?.key === 'status') return 'no';
  if (fib !== undefined) {
    if (values !== 'local' || !JSON.stringify(fib).includes('daddr'))
      return values === 'local' ? 'no' : 'unknown';
    return isForHost(packet) ? 'yes' : 'no';
  }
  if (payload !== undefined) return payloadIs(payload, values, packet);
  if (Array.isArray(bits) && JSON.stringify(bits[0]) === JSON.stringify({ meta: { key: 'mark' } })) {
    return isMarked(packet.mark, Number(values), Number(bits[1]));
  }
  return 'unknown';
}

function metaIs(key: string, value: unknown, packet: Packet): Answer {
  const family = packet.from.family;
  switch (key) {
    case 'iifname':
    case 'iif':
      return typeof value === 'string' ? isDevice(packet.by, value, '*') : 'unknown';
    case 'oifname':
    case 'oif':
      return typeof value === 'string' ? isDevice(packet.out, value, '*') : 'unknown';
    case 'mark':
      return typeof value === 'number' ? isMarked(packet.mark, value) : 'unknown';
    case 'nfproto':
      return value === (family === 4 ? 'ipv4' : 'ipv6') ? 'yes' : 'no';
    case 'protocol':
      return value === (family === 4 ? 'ip' : 'ip6') ? 'yes' : 'no';
    case 'l4proto':
      return carries(packet, String(value));
    default:
      return 'unknown';
  }
}

function payloadIs(payload: Readonly<Record<string, unknown>>, value: unknown, packet: Packet): Answer {
  const { protocol, field } = payload;
  if (protocol === 'tcp' || protocol === 'udp') {
    const ofProtocol = carries(packet, protocol);
    if (ofProtocol !== 'yes') return ofProtocol;
    return field === 'dport' ? isPort(value, packet) : 'some';
  }
  if (protocol !== 'ip' && protocol !== 'ip6') return 'some';
  if (protocol !== (packet.from.family === 4 ? 'ip' : 'ip6')) return 'no';
  if (field === 'protocol' || field === 'nexthdr') return carries(packet, String(value));
  if (field !== 'saddr' && field !== 'daddr') return 'some';
  const prefix = prefixOf(value);
  if (prefix === undefined) return 'unknown';
  return isIn(field === 'saddr' ? packet.from : packet.to, prefix);
}

function isPort(value: unknown, packet: Packet): Answer {
  if (typeof value === 'number') return goesToPort(packet, value);
  const [first, last] = (value as { range?: readonly unknown[] } | undefined)?.range ?? [];
  return typeof first === 'number' && typeof last === 'number' ? goesToPort(packet, first, last) : 'unknown';
}

function prefixOf(value: unknown): Prefix | undefined {
  if (typeof value === 'string') return parsePrefix(`${value}/${value.includes(':') ? 128 : 32}`);
  const { addr, len } = (value as { prefix?: { addr?: unknown; len?: unknown } } | undefined)?.prefix ?? {};
  return parsePrefix(`${addr}/${len}`);
}

/** The single addresses that rules of the table name as a destination: Docker names each container's. */
export const destinationsOf = ({ rules }: NftTable): Prefix[] =>
  rules.flatMap(({ expr = [] }) =>
    expr.flatMap((statement) => {
      const { left, right } = (statement.match ?? {}) as {
        left?: { payload?: { field?: unknown } };
        right?: unknown;
      };
      return left?.payload?.field === 'daddr' && typeof right === 'string' ? (prefixOf(right) ?? []) : [];
    }),
  );

/** The bits that rules for such packets set in their mark, for certain. */
export function marksOfNft({ rules }: NftTable, packet: Packet): number {
  let bits = 0;
  for (const { expr = [] } of rules) {
    const at = expr.findIndex(({ mangle }) => setsMark(mangle));
    const set = expr[at]?.mangle as { value?: unknown } | undefined;
    if (set === undefined || all(expr.slice(0, at).map((it) => answerOf(it, packet))) !== 'yes') continue;
    const or = (set.value as { '|'?: readonly unknown[] } | undefined)?.['|'];
    const value = or === undefined ? set.value : or.find((it) => typeof it === 'number');
    if (typeof value === 'number') bits |= value;
  }
  return bits >>> 0;
}

const setsMark = (mangle: unknown): boolean =>
  (mangle as { key?: { meta?: { key?: unknown } } } | undefined)?.key?.meta?.key === 'mark';
