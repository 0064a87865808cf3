import { type Hop, outcomeOf, upToFault } from '#src/diagnose/trace/hop.ts';
import type { Carriage, PartAnswer } from '#src/diagnose/trace/part.ts';
import type { Site } from '#src/diagnose/trace/site.ts';

/** One end of the way. */
export interface TraceEnd {
  /** Dotted. */
  readonly address: string;
  /** The container's, where it is known. */
  readonly name?: string;
  readonly site: Site;
}

export interface TraceRequest {
  readonly from: TraceEnd;
  readonly to: TraceEnd;
  /** The number of a Docker network of weft; absent for flannel's. */
  readonly tenant?: number | undefined;
  /** Go on behind the first hop that is not ok. */
  readonly all?: boolean;
  /** What is known of the network between two hosts when one of them can't be asked: see {@link WireEvidence}. */
  readonly evidence?: (carriage: Carriage | undefined) => WireEvidence | undefined;
}

/** What was measured between the hosts. */
export interface WireEvidence {
  readonly found: readonly string[];
  readonly ok: boolean | 'unknown';
  readonly remedy?: string;
}

/** The whole way of a packet, there and back. */
export interface Trace {
  readonly from: { readonly address: string; readonly name?: string; readonly host: string };
  readonly to: { readonly address: string; readonly name?: string; readonly host: string };
  readonly outcome: 'arrives' | 'stopped' | 'unknown';
  readonly hops: readonly Hop[];
}

/** Walks there, and the answer's way back, each on the host that sees it. */
export async function traceWay(request: TraceRequest): Promise<Trace> {
  const { from, to } = request;
  const there = await walkOneWay(request, 'there');
  const isSeen = there.some(isSeenFault);
  const back = request.all === true || !isSeen ? await walkOneWay(request, 'back') : [];
  const hops = upToFault(seenFirst([...there, ...back]), request.all === true);
  const end = ({ address, name, site }: TraceEnd) => ({
    ...{ address, host: site.name },
    ...(name !== undefined && { name }),
  });
  return { from: end(from), to: end(to), outcome: outcomeOf(hops), hops };
}

const isSeenFault = ({ id, ok }: Hop): boolean => id !== 'wire' && ok === false;

/**
 * A probe says that packets or their answers are lost, and not where. Where a host shows a hop that drops them, on the way back
 * as well, the network between the hosts is not to blame.
 */
function seenFirst(hops: readonly Hop[]): readonly Hop[] {
  if (!hops.some(isSeenFault)) return hops;
  return hops.map(({ remedy, ...hop }) => {
    const isBlamed = hop.id === 'wire' && hop.ok === false;
    return { ...hop, ...(isBlamed ? { ok: 'unknown' } : remedy !== undefined && { remedy }) };
  });
}

async function walkOneWay(
  { from, to, tenant, all = false, evidence = () => undefined }: TraceRequest,
  way: Hop['way'],
): Promise<Hop[]> {
  const [first, last] = way === 'there' ? [from, to] : [to, from];
  const common = { way, from: first.address, to: last.address, all, ...(tenant !== undefined && { tenant }) };
  const left = await first.site.walk({ ...common, part: 'leave' });
  if (!all && outcomeOf(left.hops) === 'stopped') return [...left.hops];
  const carriage = left.carriage;
  const entered = await last.site.walk({ ...common, part: 'enter', ...(carriage && { carriage }) });
  if (carriage?.kind === 'bridge') return [...left.hops, ...entered.hops];
  return [...left.hops, wireHop(way, left, first, last, evidence), ...entered.hops];
}

function wireHop(
  way: Hop['way'],
  { carriage, host }: PartAnswer,
  first: TraceEnd,
  last: TraceEnd,
  evidence: NonNullable<TraceRequest['evidence']>,
): Hop {
  const asked = first.site.answers && last.site.answers;
  const step = {
    id: 'wire',
    host,
    way,
    about:
      carriage?.kind === 'direct'
        ? `the network between the hosts carries the packet as it is, to ${carriage.to}`
        : 'on the wire: a UDP packet from host to host like any other, with the whole frame in it',
    command:
      carriage === undefined || carriage.kind === 'bridge'
        ? ''
        : `tcpdump -ni any host ${carriage.to}${carriage.kind === 'tunnel' ? ` and udp port ${carriage.port}` : ''}`,
    expected: '',
  } as const;
  if (asked) return { ...step, found: ['both hosts answer, one of them by this way'], ok: true };
  const expected = 'packets between the hosts arrive';
  const known = evidence(carriage);
  if (known !== undefined) return { ...step, ...known, expected };
  return { ...step, found: ['not measured; --live sends a packet'], ok: 'unknown' };
}
