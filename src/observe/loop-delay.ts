import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A timer every 10 ms takes 1 % of a processor. One every 500 ms takes a fiftieth of that, but misses short delays. */
const FINE_MS = 10;
const COARSE_MS = 500;
/** The measurement stays fine for this long after a question. */
const ATTENTION_MS = 2_000;

/** The largest delay of a timer of this process. Measured finely while it is asked for repeatedly, coarsely otherwise. */
export class LoopDelay {
  readonly #attentionMs: number;
  #histogram: ReturnType<typeof monitorEventLoopDelay> | undefined;
  #attention: NodeJS.Timeout | undefined;
  #resolution = 0;
  /** From the histograms before this one, since the last question. */
  #worst = 0;

  constructor({ attentionMs = ATTENTION_MS } = {}) {
    this.#attentionMs = attentionMs;
  }

  start(): void {
    this.#measure(COARSE_MS);
  }

  stop(): void {
    clearTimeout(this.#attention);
    this.#histogram?.disable();
  }

  /** Milliseconds since the last call; resets the measurement. */
  take(): number {
    const late = this.#late();
    this.#measure(FINE_MS);
    this.#worst = 0;
    clearTimeout(this.#attention);
    this.#attention = setTimeout(() => this.#measure(COARSE_MS), this.#attentionMs).unref();
    return late;
  }

  /** A histogram's values are the times between two ticks, not how late the second was. */
  #late(): number {
    return Math.max(this.#worst, (this.#histogram?.max ?? 0) / 1e6 - this.#resolution);
  }

  #measure(resolution: number): void {
    this.#worst = this.#late();
    this.#histogram?.disable();
    this.#histogram = monitorEventLoopDelay({ resolution });
    this.#histogram.enable();
    this.#resolution = resolution;
  }
}
