import type { HistogramSnapshot } from '#src/observe/histogram.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';

/** What is counted of one network, beside its status. */
export interface NetworkFigures {
  /** Absent until there is a lease. */
  readonly lease?: LeaseFigures;
  readonly registry: {
    /** Times that it was back after an outage. */
    readonly reconnects: number;
    /** Events of leases that it has sent. */
    readonly events: number;
  };
  /** Absent until the network's config is known. */
  readonly subnets?: { readonly capacity: number; readonly used: number };
  /** Seconds from a lease's event to its objects in the kernel. */
  readonly putToRoute?: HistogramSnapshot;
  /** By kind of kernel state. */
  readonly kinds: ReadonlyMap<string, KindFigures>;
  readonly firewall: { readonly repairs: number; readonly failing: boolean };
  /** The overlay's devices on this host. */
  readonly devices: readonly string[];
  /** Absent where peers are not measured. */
  readonly probes?: ProbeCounts;
}

export interface LeaseFigures {
  /** Until it ends, if it is not renewed; absent for a reservation. */
  readonly remainingSeconds?: number;
  /** Renewals and new claims that the registry has taken. */
  readonly renewals: number;
  readonly failures: number;
}

export interface KindFigures {
  readonly wanted: number;
  /** Of those: found as wanted. */
  readonly found: number;
  readonly failing: number;
  readonly repairs: number;
}

/** One network, as its metrics see it. */
export interface NetworkMeasured {
  readonly status: NodeStatus;
  readonly figures: NetworkFigures;
  /** Counters of the host's devices, by name. */
  readonly devices: ReadonlyMap<string, DeviceCounters>;
}

/** The kernel's counters of one device. */
export interface DeviceCounters {
  readonly receive: DirectionCounters;
  readonly transmit: DirectionCounters;
}

export interface DirectionCounters {
  readonly bytes: number;
  readonly packets: number;
  readonly errors: number;
  readonly drops: number;
}
