/**
 * Runs asynchronous steps one after the other, in the order in which they were handed in. The queue
 * is the only writer of the state that its steps write: a step may read, wait and write without
 * another step in between.
 */
export class InOrder {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Number of steps that were handed in and have not ended. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves or rejects as the step does. A step that fails does not keep the next one from running. */
  run<T>(step: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const result = this.#last.then(step).finally(() => {
      this.#waiting--;
    });
    this.#last = result.catch(() => {});
    return result;
  }

  /** Resolves when all steps that were handed in so far have ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
