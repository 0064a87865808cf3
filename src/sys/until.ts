import { WeftError } from '#src/lib/errors.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';

export interface UntilOptions {
  /** What is waited for, as the end of "no … after N s". */
  readonly what: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
  /** Default 20, and after 0.4 s a twentieth of the time so far, up to 100: an answer may cost a process. */
  readonly intervalMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

const SHORTEST_MS = 20;
const LONGEST_MS = 100;

/**
 * Asks until the answer is something other than `undefined` or `false`, and returns it. For
 * conditions without an event: a socket that listens, a line in a log. Throws `timed-out` at the
 * deadline and the signal's reason when that aborts. Every deadline is {@link patience} times as long.
 */
export async function until<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  { what, timeoutMs = 10_000, intervalMs, signal, clock = systemClock }: UntilOptions,
): Promise<T> {
  const limitMs = timeoutMs * patience();
  const started = clock.monotonic();
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    const waitedMs = clock.monotonic() - started;
    if (waitedMs > limitMs) {
      throw new WeftError('timed-out', `no ${what} after ${limitMs / 1000} s`);
    }
    await clock.sleep(intervalMs ?? Math.min(Math.max(SHORTEST_MS, waitedMs / 20), LONGEST_MS), signal);
  }
}

/** For a slow machine, such as an emulated one: `WEFT_PATIENCE=8` waits eight times as long. */
export const patience = (): number => Number(process.env.WEFT_PATIENCE) || 1;
