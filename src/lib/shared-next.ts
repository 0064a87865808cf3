/**
 * Calls that come while one is under way share the one after it: however many there are, two run, and each caller's has begun
 * after it asked.
 */
export class SharedNext<T> {
  readonly #run: () => Promise<T>;
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<T> | undefined;

  constructor(run: () => Promise<T>) {
    this.#run = run;
  }

  /** Resolves or rejects as the call does. */
  call(): Promise<T> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#running.then(() => {
      this.#next = undefined;
      return this.#run();
    });
    this.#running = next.catch(() => {});
    this.#next = next;
    return next;
  }
}
