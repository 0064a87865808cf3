import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A running measurement of how late the timers of this process are. */
export interface LoopLateness {
  /** The largest delay since the measurement began, in milliseconds. */
  worst(): number;
  stop(): void;
}

/** Begins a measurement with a timer every `everyMs`. */
export type MeasureLoop = (everyMs: number) => LoopLateness;

export const measureLoop: MeasureLoop = (everyMs) => {
  const histogram = monitorEventLoopDelay({ resolution: everyMs });
  histogram.enable();
  return {
    // The histogram counts the nanoseconds between two ticks, not how late the second was.
    worst: () => Math.max(0, histogram.max / 1e6 - everyMs),
    stop: () => void histogram.disable(),
  };
};
