/**
 * The lifetime of something that has parts. A part runs until the signal aborts. A part that fails ends all of them, with
 * its error. Nothing has ended until every part has: {@link stop} waits for them.
 */
export class Lifetime {
  readonly #end = new AbortController();
  readonly #parts = new Set<Promise<unknown>>();
  readonly signal: AbortSignal;

  constructor(parent?: AbortSignal) {
    this.signal = parent === undefined ? this.#end.signal : AbortSignal.any([parent, this.#end.signal]);
  }

  /** Starts a part. Its rejection ends the lifetime, unless the lifetime has ended already. */
  run(part: (signal: AbortSignal) => Promise<unknown>): void {
    const running = part(this.signal)
      .catch((error: unknown) => {
        if (!this.signal.aborted) this.fail(error);
      })
      .finally(() => this.#parts.delete(running));
    this.#parts.add(running);
  }

  /** Another lifetime becomes a part of this one: its failure is this one's, and it ends with it. */
  adopt(other: Lifetime): void {
    this.run((signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const end = (): void => void other.stop().then(resolve);
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
      other.ended().catch((error: unknown) => {
        if (!signal.aborted) reject(error);
      });
      return promise;
    });
  }

  /** Ends everything with this error. */
  fail(error: unknown): void {
    this.#end.abort(error);
  }

  /** Rejects with the parent's reason, or with the error of the part that failed. */
  async ended(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    const end = (): void => reject(this.signal.reason);
    if (this.signal.aborted) end();
    else this.signal.addEventListener('abort', end, { once: true });
    return promise;
  }

  /** Ends every part and waits until all of them have ended. May be called more than once. */
  async stop(): Promise<void> {
    this.#end.abort();
    while (this.#parts.size > 0) await Promise.allSettled(this.#parts);
  }
}

/** Resolves when the signal has aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
