import { METHODS } from '#src/driver/plugin-methods.ts';
import type { CallFigures } from '#src/observe/driver-figures.ts';
import { Histogram } from '#src/observe/histogram.ts';

/** Docker waits 15 s for a plugin, and a call's deadline is 10 s. */
const BOUNDS_SECONDS = [0.01, 0.05, 0.25, 1, 5, 10];

interface Count {
  readonly seconds: Histogram;
  failed: number;
}

/** Counts the calls of Docker by method. Only methods that we have are counted, so that nobody can make more rows. */
export class CallCounts {
  readonly #counts: ReadonlyMap<string, Count> = new Map(
    Object.keys(METHODS).map((call) => [call, { seconds: new Histogram(BOUNDS_SECONDS), failed: 0 }]),
  );

  /** A call was answered, after so many seconds. */
  answered(call: string, seconds: number, outcome: 'done' | 'failed'): void {
    const count = this.#counts.get(call);
    if (count === undefined) return;
    count.seconds.observe(seconds);
    if (outcome === 'failed') count.failed++;
  }

  /** By the call's name: `NetworkDriver.Join`. Methods that were never called are there, too. */
  get figures(): ReadonlyMap<string, CallFigures> {
    return new Map(
      Array.from(this.#counts, ([call, { seconds, failed }]) => [
        call,
        { seconds: seconds.snapshot, failed },
      ]),
    );
  }
}
