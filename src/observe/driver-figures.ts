import type { DriverStatus } from '#src/observe/driver-status.ts';
import type { HistogramSnapshot } from '#src/observe/histogram.ts';

/** What is counted of Docker's driver, beside its status. */
export interface DriverFigures {
  /** By the call's name: `NetworkDriver.Join`, `IpamDriver.RequestAddress`. */
  readonly calls: ReadonlyMap<string, CallFigures>;
  /** Packets that were dropped because of what they claimed, by the reason; absent while that is not known. */
  readonly dropped?: ReadonlyMap<string, number>;
}

export interface CallFigures {
  /** Seconds that each call took, failed ones included. */
  readonly seconds: HistogramSnapshot;
  readonly failed: number;
}

/** The driver, as its metrics see it. */
export interface DriverMeasured {
  readonly status: DriverStatus;
  readonly figures: DriverFigures;
}
