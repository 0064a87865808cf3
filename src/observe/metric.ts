/** By name: small letters, digits and `_`. Values come from a set that does not grow with the network. */
export type Labels = Readonly<Record<string, string>>;

/** One row of Prometheus' text format. */
export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
  /** Of a histogram: which of its rows this is. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** One figure, or several that differ by labels. The tables of these are also docs/reference/metrics.md. */
export interface Metric<Source> {
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  /** A number, or rows of their own; `undefined` while there is no figure. */
  value(source: Source): number | readonly Sample[] | undefined;
}

/** A metric with its rows, as `/metrics` has it. Prometheus wants each name once. */
export interface Family {
  readonly name: string;
  readonly type: Metric<unknown>['type'];
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** What is measured, with the labels that distinguish it from others of its kind. */
export interface Measured<Source> {
  readonly source: Source;
  readonly labels?: Labels;
}

/** A metric of which nothing is known has no family. */
export function familiesOf<Source>(
  metrics: readonly Metric<Source>[],
  measured: readonly Measured<Source>[],
): Family[] {
  return metrics.flatMap(({ name, type, help, value }) => {
    const samples = measured.flatMap(({ source, labels = {} }) => {
      const found = value(source);
      if (found === undefined) return [];
      if (typeof found === 'number') return { labels, value: found };
      return found.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } }));
    });
    return samples.length === 0 ? [] : [{ name, type, help, samples }];
  });
}

/** Prometheus' text format, version 0.0.4. */
export function formatFamilies(families: readonly Family[]): string {
  return families
    .flatMap(({ name, type, help, samples }) => [
      `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`,
      ...samples.map((sample) => `${nameOf(name, sample)} ${sample.value}\n`),
    ])
    .join('');
}

/** The same by name and labels, for `/v1/counters`. */
export function countersOf(families: readonly Family[]): Record<string, number> {
  return Object.fromEntries(
    families.flatMap(({ name, samples }) => samples.map((sample) => [nameOf(name, sample), sample.value])),
  );
}

function nameOf(name: string, { labels = {}, suffix }: Sample): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escapedLabel(value)}"`);
  return `${name}${suffix ?? ''}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`}`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapedLabel = (text: string): string => escaped(text).replaceAll('"', '\\"');

/** A row each for the values of one label. */
export const samplesBy = (label: string, values: Iterable<readonly [string, number]>): readonly Sample[] =>
  Array.from(values, ([name, value]) => ({ labels: { [label]: name }, value }));
