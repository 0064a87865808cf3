import { WeftError } from '#src/lib/errors.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';

export interface UntilOptions {
  /** What is waited for, as the end of "no … after N s". */
  readonly what: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
  /** Default 20. */
  readonly intervalMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/**
 * Asks until the answer is something other than `undefined` or `false`, and returns it. For
 * conditions without an event: a socket that listens, a line in a log. Throws `timed-out` at the
 * deadline and the signal's reason when that aborts.
 */
export async function until<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { what, timeoutMs = 10_000, intervalMs = 20, signal, clock = systemClock }: UntilOptions,
): Promise<T> {
  const deadline = clock.monotonic() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (clock.monotonic() > deadline) {
      throw new WeftError('timed-out', `no ${what} after ${timeoutMs / 1000} s`);
    }
    await clock.sleep(intervalMs, signal);
  }
}
