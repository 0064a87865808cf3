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
