/** A body that waits for its turn, or that has it. */
export interface LargeBody {
  /** Its turn has come. */
  begin(): void;
  /** It took longer than a turn may take. */
  expire(): void;
}

export interface LargeBodiesOptions {
  /** Bodies that may be received at once, over all connections and on each. */
  readonly total: number;
  readonly perConnection: number;
  /** How long one may take, milliseconds. */
  readonly turnMs: number;
}

/**
 * Large requests take turns. HTTP/2 lets a client begin as many requests as it likes and leave each half sent; what
 * has arrived must be kept, so only so many are received at once. The others stay with their sender, held
 * back by HTTP/2's flow control. A turn ends after a while, so that nobody holds a place by sending slowly.
 */
export class LargeBodies {
  readonly #options: LargeBodiesOptions;
  readonly #now: () => number;
  readonly #receiving = new Map<LargeBody, { readonly connection: object; readonly since: number }>();
  readonly #waiting = new Map<LargeBody, object>();

  constructor(now: () => number, options: LargeBodiesOptions) {
    this.#now = now;
    this.#options = options;
  }

  /** Calls `begin` now or later. Each body that enters has to {@link leave}. */
  enter(body: LargeBody, connection: object): void {
    this.#waiting.set(body, connection);
    this.#next();
  }

  leave(body: LargeBody): void {
    this.#waiting.delete(body);
    if (this.#receiving.delete(body)) this.#next();
  }

  /** Ends the turns that are over. To be called about once a second. */
  tick(): void {
    const end = this.#now() - this.#options.turnMs;
    for (const [body, { since }] of this.#receiving) if (since <= end) body.expire();
  }

  #next(): void {
    for (const [body, connection] of this.#waiting) {
      if (this.#receiving.size >= this.#options.total) return;
      const own = [...this.#receiving.values()].filter((other) => other.connection === connection).length;
      if (own >= this.#options.perConnection) continue;
      this.#waiting.delete(body);
      this.#receiving.set(body, { connection, since: this.#now() });
      body.begin();
    }
  }
}
