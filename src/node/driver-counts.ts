import { CallCounts } from '#src/driver/call-counts.ts';
import type { DriverFigures } from '#src/observe/driver-figures.ts';
import type { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Reading the counters of the rules runs two programs: scrapes that follow each other get the same answer. */
const FRESH_MS = 5_000;
/** A scrape does not wait longer for those programs. */
const PATIENCE_MS = 2_000;

/** What is counted of Docker's driver, over all its starts in this process. */
export class DriverCounts {
  readonly calls = new CallCounts();
  readonly #clock: Clock;
  #rules: Pick<TenantRules, 'dropped'> | undefined;
  #dropped: ReadonlyMap<string, number> | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** These rules count from now on. Returns them. */
  follow<T extends Pick<TenantRules, 'dropped'>>(rules: T): T {
    this.#rules = rules;
    return rules;
  }

  /** Packets are those of the last reading, if a new one takes too long. */
  async figures(): Promise<DriverFigures> {
    await this.#read();
    return {
      calls: this.calls.figures,
      ...(this.#dropped !== undefined && { dropped: this.#dropped }),
    };
  }

  async #read(): Promise<void> {
    const now = this.#clock.monotonic();
    if (this.#rules === undefined || now - this.#readAt < FRESH_MS) return;
    this.#reading ??= this.#rules
      .dropped()
      .then((dropped) => {
        // A table that is not there yet has no counters.
        if (dropped.size === 0) return;
        this.#dropped = dropped;
        this.#readAt = now;
      })
      .catch(() => {})
      .finally(() => {
        this.#reading = undefined;
      });
    const enough = new AbortController();
    try {
      await Promise.race([this.#reading, this.#clock.sleep(PATIENCE_MS, enough.signal)]);
    } finally {
      enough.abort();
    }
  }
}
