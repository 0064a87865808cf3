/** What an answer costs beside its bytes while it waits for its reader: a buffer, a callback, an entry in a queue. */
const MESSAGE_OVERHEAD = 256;

/**
 * Bytes that were sent and that the reader has not taken. Accounts form a tree: a call's bytes count for its
 * connection and for the whole server too. An account over its limit is congested until half of the limit is free
 * again, and so is everything below it. Nothing is refused here: work that would send more waits in
 * {@link whenClear}, and costs no memory for answers meanwhile.
 */
export class OutputAccount {
  readonly #limit: number;
  readonly #parent: OutputAccount | undefined;
  #waiting: (() => void)[] = [];
  #untaken = 0;
  #taken = 0;
  #full = false;

  constructor(limit: number, parent?: OutputAccount) {
    this.#limit = limit;
    this.#parent = parent;
  }

  get untaken(): number {
    return this.#untaken;
  }

  /** Bytes that were ever taken: while this stands still, the reader does. */
  get taken(): number {
    return this.#taken;
  }

  get congested(): boolean {
    return this.#blocking() !== undefined;
  }

  /** Counts a message that was sent; the function returned is to be called once, when the message has left. */
  sent(bytes: number): () => void {
    const cost = bytes + MESSAGE_OVERHEAD;
    this.#add(cost);
    let taken = false;
    return () => {
      if (taken) return;
      taken = true;
      this.#remove(cost);
    };
  }

  /** Runs the task now, or when this account and those above it are no longer congested, in the order of asking. */
  whenClear(task: () => void): void {
    const blocking = this.#blocking();
    if (blocking === undefined) task();
    else blocking.#waiting.push(() => this.whenClear(task));
  }

  #blocking(): OutputAccount | undefined {
    if (this.#full) return this;
    return this.#parent === undefined ? undefined : this.#parent.#blocking();
  }

  #add(cost: number): void {
    this.#untaken += cost;
    if (this.#untaken > this.#limit) this.#full = true;
    if (this.#parent !== undefined) this.#parent.#add(cost);
  }

  #remove(cost: number): void {
    if (this.#parent !== undefined) this.#parent.#remove(cost);
    this.#untaken -= cost;
    this.#taken += cost;
    if (!this.#full || this.#untaken > this.#limit / 2) return;
    this.#full = false;
    // A task may congest the account at once: the others then queue up behind it in their old order.
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const task of waiting) task();
  }
}
