/** What a node knows of itself: the answer of its own API, the source of `weft status` and of the metrics. */
export interface NodeStatus {
  readonly version: string;
  /** The node's identity. */
  readonly node: string;
  readonly ready: boolean;
  /** Why packets don't flow as they should, one clause each. */
  readonly troubles: readonly string[];
  /** Absent until the network is up. */
  readonly network?: {
    readonly network: string;
    readonly subnet: string;
    readonly backend: string;
    readonly underlay: string;
    readonly publicIp: string;
    /** Bytes. */
    readonly mtu: number;
    /** How routes to peers are written: as flannel does, or with a metric each. */
    readonly routes: 'flannel' | 'linear';
  };
  readonly registry: {
    readonly description: string;
    readonly state: string;
    /** Seconds since it last confirmed that this node knows every change; absent before the first time. */
    readonly ageSeconds?: number;
  };
  readonly peers: {
    readonly accepted: number;
    /** Leases that are not used, with the reason. */
    readonly quarantined: readonly { readonly lease: string; readonly reason: string }[];
  };
  readonly kernel: {
    readonly wanted: number;
    readonly failing: readonly { readonly key: string; readonly reason: string }[];
    /** Repairs of objects that had been right, since the start. */
    readonly repairs: number;
    /** Full comparisons since the start. */
    readonly checks: number;
  };
  /** The largest delay of the event loop since the last question, in milliseconds. */
  readonly eventLoopDelayMs: number;
}
