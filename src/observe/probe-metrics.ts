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
