/** The value below which the fraction `q` (0 … 1) of the samples lies; nearest rank. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** Three significant figures, thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `1.23 [1.20 … 1.31]`: median, least and greatest. */
export function spread(samples: readonly number[]): string {
  if (samples.length === 0) return '–';
  if (samples.length === 1) return figure(median(samples));
  return `${figure(median(samples))} [${figure(Math.min(...samples))} … ${figure(Math.max(...samples))}]`;
}

/** A value at a time, in milliseconds. */
export interface Point {
  readonly at: number;
  readonly value: number;
}

/** Least squares: what the value grows by in a millisecond. 0 for less than two points. */
export function slope(points: readonly Point[]): number {
  const mean = (pick: (point: Point) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [at, value] = [mean((point) => point.at), mean((point) => point.value)];
  const spreadOf = points.reduce((sum, point) => sum + (point.at - at) ** 2, 0);
  if (!(spreadOf > 0)) return 0;
  return points.reduce((sum, point) => sum + (point.at - at) * (point.value - value), 0) / spreadOf;
}
