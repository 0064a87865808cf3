export interface BackoffOptions {
  /** The longest first pause, in milliseconds. */
  readonly baseMs: number;
  /** The longest pause ever. */
  readonly capMs: number;
}

/**
 * How long to pause before trying again: anything up to a limit that doubles from attempt to attempt ("full jitter"),
 * so that many hosts that lost one server do not come back in step.
 */
export class Backoff {
  readonly #random: () => number;
  readonly #options: BackoffOptions;
  #attempts = 0;

  constructor(components: { readonly random: () => number }, options: BackoffOptions) {
    this.#random = components.random;
    this.#options = options;
  }

  /** The next pause, in milliseconds. */
  next(): number {
    const { baseMs, capMs } = this.#options;
    const limit = Math.min(capMs, baseMs * 2 ** this.#attempts);
    if (limit < capMs) this.#attempts++;
    return this.#random() * limit;
  }

  /** Success that lasted: the next pause is a short one again. */
  reset(): void {
    this.#attempts = 0;
  }
}
