import type { Labels, Sample } from '#src/observe/metric.ts';

/** How many values there were, by their upper bounds. */
export interface HistogramSnapshot {
  /** Upper bound, included, and the number of values up to it: cumulative, as Prometheus wants it. */
  readonly buckets: readonly (readonly [bound: number, count: number])[];
  readonly count: number;
  readonly sum: number;
}

/** Counts durations in a few buckets. A value costs one comparison for each. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #count = 0;
  #sum = 0;

  /** `bounds`: in seconds, rising. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  /** Seconds. */
  observe(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    for (const [index, bound] of this.#bounds.entries())
      if (seconds <= bound) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  get snapshot(): HistogramSnapshot {
    return {
      buckets: this.#bounds.map((bound, index) => [bound, this.#counts[index] ?? 0]),
      count: this.#count,
      sum: this.#sum,
    };
  }
}

/** The rows of a histogram, for a {@link Metric} of that type. */
export const histogramSamples = (
  { buckets, count, sum }: HistogramSnapshot,
  labels: Labels = {},
): readonly Sample[] => [
  ...buckets.map(
    ([bound, value]): Sample => ({ labels: { ...labels, le: String(bound) }, value, suffix: '_bucket' }),
  ),
  { labels: { ...labels, le: '+Inf' }, value: count, suffix: '_bucket' },
  { labels, value: sum, suffix: '_sum' },
  { labels, value: count, suffix: '_count' },
];
