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
 * deadline and the signal's reason when that aborts. Every deadline is {@link patience} times as long.
 */
export async function until<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { what, timeoutMs = 10_000, intervalMs = 20, signal, clock = systemClock }: UntilOptions,
): Promise<T> {
  const limitMs = timeoutMs * patience();
  const deadline = clock.monotonic() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (clock.monotonic() > deadline) {
      throw new WeftError('timed-out', `no ${what} after ${limitMs / 1000} s`);
    }
    await clock.sleep(intervalMs, signal);
  }
}

/** For a slow machine, such as an emulated one: `WEFT_PATIENCE=8` waits eight times as long. */
export const patience = (): number => Number(process.env.WEFT_PATIENCE) || 1;
