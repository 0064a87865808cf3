import type { Clock } from '#src/sys/clock.ts';

/** What looks at intervals looks on a beat: a whole second of the monotonic clock. */
export const BEAT_MS = 1_000;

/**
 * The beat that is nearest to `ms` from `now`, in milliseconds of the monotonic clock. To the nearest: what has looked a
 * millisecond after a beat looks again at the next one. Half a beat or less is no matter of beats.
 */
export const beatIn = (now: number, ms: number, every = BEAT_MS): number =>
  ms > every / 2 ? Math.round((now + ms) / every) * every : now + ms;

/**
 * Sleeps about `ms`, until a beat. For looks at intervals, whose moment does not matter: those that are due in one second wake
 * the process once. A wake costs more than most looks do, for after a pause the processor's caches have nothing of the process
 * left (docs/performance.md, "Where the time goes": at rest). Resolves with how late it is, in milliseconds.
 */
export async function untilBeat(clock: Clock, ms: number, signal?: AbortSignal): Promise<number> {
  const now = clock.monotonic();
  const due = beatIn(now, ms);
  // A timer counts whole milliseconds, and cuts the rest off.
  await clock.sleep(Math.ceil(due - now), signal);
  return Math.max(0, clock.monotonic() - due);
}
