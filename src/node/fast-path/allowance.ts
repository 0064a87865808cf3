export interface AllowanceOptions {
  /** After a rest. */
  readonly atOnce: number;
  /** In the long run. */
  readonly aSecond: number;
}

/** What the kernel does under a lock that others wait for, too: so often, and no oftener. */
export class Allowance {
  readonly #options: AllowanceOptions;
  #credit: number;
  #at = Number.NEGATIVE_INFINITY;

  constructor(options: AllowanceOptions) {
    this.#options = options;
    this.#credit = options.atOnce;
  }

  /** Milliseconds until one is allowed. `now`: monotonic. */
  waitMs(now: number): number {
    const { atOnce, aSecond } = this.#options;
    const earned = ((now - this.#at) / 1_000) * aSecond;
    this.#credit = Math.min(atOnce, this.#credit + earned);
    this.#at = now;
    return this.#credit >= 1 ? 0 : Math.ceil(((1 - this.#credit) / aSecond) * 1_000);
  }

  /** Whether one is allowed; it is counted then. */
  take(now: number): boolean {
    if (this.waitMs(now) > 0) return false;
    this.#credit--;
    return true;
  }
}
