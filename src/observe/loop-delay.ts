import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A timer each 10 ms takes 1 % of a processor, one each 100 ms a tenth of that and misses short delays. */
const FINE_MS = 10;
const COARSE_MS = 100;
/** So long after somebody asked it is fine. */
const ATTENTION_MS = 2_000;

/** The longest that a timer of this process came late: finely while somebody asks again and again, coarsely at rest. */
export class LoopDelay {
  #histogram: ReturnType<typeof monitorEventLoopDelay> | undefined;
  #attention: NodeJS.Timeout | undefined;
  #resolution = 0;

  start(): void {
    this.#measure(COARSE_MS);
  }

  stop(): void {
    clearTimeout(this.#attention);
    this.#histogram?.disable();
  }

  /** Milliseconds; begins anew. */
  take(): number {
    // The histogram's values are the times between two ticks, not how late the second was.
    const late = Math.max(0, (this.#histogram?.max ?? 0) / 1e6 - this.#resolution);
    this.#histogram?.reset();
    if (this.#resolution !== FINE_MS) this.#measure(FINE_MS);
    clearTimeout(this.#attention);
    this.#attention = setTimeout(() => this.#measure(COARSE_MS), ATTENTION_MS).unref();
    return late;
  }

  #measure(resolution: number): void {
    this.#histogram?.disable();
    this.#histogram = monitorEventLoopDelay({ resolution });
    this.#histogram.enable();
    this.#resolution = resolution;
  }
}
