export interface BackoffOptions {
  /** The longest first pause, in milliseconds. */
  readonly baseMs: number;
  /** The longest pause ever. */
  readonly capMs: number;
}

/**
 * The pause before the next attempt: a random time below a limit that doubles with each attempt ("full jitter"), so that
 * hosts that lost one server together do not all return at the same moment.
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

  /** To be called after a lasting success: the next pause is short again. */
  reset(): void {
    this.#attempts = 0;
  }
}
