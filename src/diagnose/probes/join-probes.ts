import type { FamilyProbe, PeerProbe } from '#src/observe/api.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';

type State = PeerProbe['state'];

/** What the prober of one family knows. */
export interface FamilyFigures {
  readonly counts: ProbeCounts;
  /** Each of its peers; `undefined` before the first look. */
  states(): Iterable<readonly [string, State | undefined]>;
}

const RANKS: Readonly<Record<State, number>> = { up: 0, degraded: 1, down: 2 };

const worse = (one: State | undefined, other: State | undefined): State | undefined =>
  one === undefined || (other !== undefined && RANKS[other] > RANKS[one]) ? other : one;

/**
 * What was measured of one peer in both families: the state is the worse one, findings of IPv6 say that they are, and the other
 * fields are those of IPv4. A peer that is measured in one family has that alone.
 */
export function joinProbes(v4: FamilyProbe | undefined, v6: FamilyProbe | undefined): PeerProbe | undefined {
  if (v4 === undefined || v6 === undefined) return v4 ?? v6;
  return {
    ...v4,
    state: worse(v4.state, v6.state) ?? v4.state,
    findings: [...v4.findings, ...v6.findings.map((finding) => `IPv6: ${finding}`)],
    ipv4: v4,
    ipv6: v6,
  };
}

/** The same of all peers: one that is measured in both families counts by the worse one. */
export function joinCounts(v4: FamilyFigures, v6: FamilyFigures): ProbeCounts {
  const states = new Map<string, State | undefined>(v4.states());
  for (const [name, state] of v6.states()) states.set(name, worse(states.get(name), state));
  const counts = { up: 0, degraded: 0, down: 0, unknown: 0 };
  for (const state of states.values()) counts[state ?? 'unknown']++;
  const trips = [v4.counts, v6.counts].flatMap(({ worstRoundTripSeconds: trip }) => trip ?? []);
  return {
    ...counts,
    sent: v4.counts.sent + v6.counts.sent,
    lost: v4.counts.lost + v6.counts.lost,
    ...(trips.length > 0 && { worstRoundTripSeconds: Math.max(...trips) }),
  };
}
