import type { Clock } from '#src/sys/clock.ts';

/** A call that comes later. */
export interface Timer {
  /** The call does not come. Safe to call twice, and after the call. */
  stop(): void;
}

/** Calls back once after `ms`, by the given clock. `action` must not throw. */
export function startTimer(clock: Clock, ms: number, action: () => void): Timer {
  const stopper = new AbortController();
  clock.sleep(ms, stopper.signal).then(action, () => {});
  // Without a reason, abort makes an Error with its stack.
  return { stop: () => stopper.abort('stopped') };
}

/** Calls back every `ms` until it is stopped; the next interval begins when the action has ended. `action` must not reject. */
export function startInterval(clock: Clock, ms: number, action: () => void | Promise<void>): Timer {
  const stopper = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopper.signal.aborted) {
      await clock.sleep(ms, stopper.signal);
      await action();
    }
  };
  run().catch(() => {});
  return { stop: () => stopper.abort() };
}

/**
 * A signal that aborts after `ms` with a `TimeoutError`, or with `signal` if that aborts first. Does not
 * keep the process alive.
 */
export function deadlineIn(ms: number, signal?: AbortSignal): AbortSignal {
  const deadline = AbortSignal.timeout(ms);
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
}

/** A wait looks so often whether this process runs. */
const STEPS = 20;
/** A process that hardly ever runs has to end, too. */
const MOST_TIMES = 3;

/**
 * Calls back once when `progress` has been the same for `ms` in which this process could run, and after three times `ms` in
 * any case. An answer may have come while the process was kept from running: it waits to be read, and is no silence of the other side.
 * Does not keep the process alive. `action` must not throw.
 */
export function startSilenceTimer(ms: number, progress: () => number, action: () => void): Timer {
  let [seen, since, steps] = [progress(), performance.now(), 0];
  const timer = setInterval(() => {
    const now = progress();
    if (now !== seen) [seen, since, steps] = [now, performance.now(), 0];
    // However late a step comes, it counts once.
    else if (++steps >= STEPS || performance.now() - since > MOST_TIMES * ms) {
      clearInterval(timer);
      action();
    }
  }, ms / STEPS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

/** As {@link deadlineIn}, by the time in which this process could run; see {@link startSilenceTimer}. */
export function runningDeadlineIn(ms: number, signal?: AbortSignal): AbortSignal {
  const late = new AbortController();
  const stop = (): void => timer.stop();
  const timer = startSilenceTimer(
    ms,
    () => 0,
    () => {
      // A daemon's signal lives as long as the daemon, and has a deadline for each of its questions.
      signal?.removeEventListener('abort', stop);
      late.abort(new DOMException(`no end within ${ms} ms`, 'TimeoutError'));
    },
  );
  signal?.addEventListener('abort', stop, { once: true });
  return signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
}

/** The same clock with sleeps by the time in which this process could run; they do not keep it alive. See {@link startSilenceTimer}. */
export function runningClock(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep(ms, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      if (signal?.aborted) reject(signal.reason);
      const timer = startSilenceTimer(ms, () => 0, resolve);
      const stop = (): void => {
        timer.stop();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', stop, { once: true });
      return promise.finally(() => {
        timer.stop();
        signal?.removeEventListener('abort', stop);
      });
    },
  };
}
