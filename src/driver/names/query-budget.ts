import type { Clock } from '#src/sys/clock.ts';

export interface QueryBudgetOptions {
  /** In the long run. */
  readonly perSecond: number;
  /** At once, after a rest. */
  readonly burst: number;
}

/** So much and no more: a bucket of tokens. */
export class QueryBudget {
  readonly #clock: Clock;
  readonly #options: QueryBudgetOptions;
  #tokens: number;
  #since: number;

  constructor(components: { readonly clock: Clock }, options: QueryBudgetOptions) {
    this.#clock = components.clock;
    this.#options = options;
    this.#tokens = options.burst;
    this.#since = components.clock.monotonic();
  }

  /** Whether one more is allowed; it is counted then. */
  take(): boolean {
    const { perSecond, burst } = this.#options;
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#since) * perSecond) / 1000);
    this.#since = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
