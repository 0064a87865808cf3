/** Time as the daemon sees it, so that tests can advance it. */
export interface Clock {
  /** Wall time, milliseconds since the epoch. May jump. */
  now(): number;
  /** Milliseconds that never go back; only differences mean anything. */
  monotonic(): number;
  /**
   * Resolves after `ms`; rejects with the signal's reason when it aborts first. A pending
   * sleep keeps the process alive.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  // Not the sleep of node:timers/promises: it makes an Error, with its stack, for each sleep that ends early. A watch ends
  // one with each event.
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const end = (): void => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener('abort', end);
          resolve();
          // What is left of a time that has just passed is less than nothing, and Node would warn of it.
        },
        Math.max(0, ms),
      );
      signal?.addEventListener('abort', end, { once: true });
    }),
};
