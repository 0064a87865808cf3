import { type Metric, samplesBy } from '#src/observe/metric.ts';

/** What the probes of one network have found, in numbers. Absent where peers are not measured. */
export interface ProbeCounts {
  /** Peers by what was found of them. */
  readonly up: number;
  readonly degraded: number;
  readonly down: number;
  /** Peers that have not been looked at yet. */
  readonly unknown: number;
  /** Echo requests since the start, and those without an answer. */
  readonly sent: number;
  readonly lost: number;
  /** Of the peers that answer inside the tunnel; absent while none does. */
  readonly worstRoundTripSeconds?: number;
}

/** The figures of one network's probes. No peer has a row of its own. */
export const PROBE_METRICS: readonly Metric<{ readonly figures: { readonly probes?: ProbeCounts } }>[] = [
  {
    name: 'weft_probed_peers',
    type: 'gauge',
    help: 'peers by what probes found of them, as `state`: up, degraded, down, or unknown before the first look. One that is measured in both families counts by the worse one',
    value: ({ figures: { probes } }) =>
      probes &&
      samplesBy(
        'state',
        (['up', 'degraded', 'down', 'unknown'] as const).map((state) => [state, probes[state]]),
      ),
  },
  {
    name: 'weft_probe_packets_total',
    type: 'counter',
    help: 'echo requests that were sent to measure peers',
    value: ({ figures: { probes } }) => probes?.sent,
  },
  {
    name: 'weft_probe_packets_lost_total',
    type: 'counter',
    help: 'those of them that had no answer, or could not leave this host',
    value: ({ figures: { probes } }) => probes?.lost,
  },
  {
    name: 'weft_probe_worst_round_trip_seconds',
    type: 'gauge',
    help: 'the longest last round trip inside the tunnel, of the peers that answer',
    value: ({ figures: { probes } }) => probes?.worstRoundTripSeconds,
  },
];
