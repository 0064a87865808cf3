import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from './benchmark.ts';
import { barChart } from './plot.ts';
import { inRepository } from './program.ts';
import { figure, median, spread } from './statistics.ts';

/** What a benchmark found, as it is kept. */
export interface Result {
  readonly name: string;
  readonly title: string;
  readonly method: string;
  readonly beside?: readonly string[] | undefined;
  readonly ratiosByRound?: boolean | undefined;
  readonly plotted?: readonly string[] | undefined;
  /** The day, and what it ran on: `2 × AMD EPYC, Linux 6.18`. */
  readonly when: string;
  readonly machine: string;
  /** With version and API. */
  readonly programs: readonly string[];
  readonly rows: readonly Row[];
}

const RESULTS = inRepository('bench/results');
const DOCS = inRepository('docs');
/** What stands before the results, and after them. */
const NOTES = inRepository('bench/notes.md');
const DIARY = inRepository('bench/diary.md');

export function keep(result: Result): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${result.name}.json`), `${JSON.stringify(result, undefined, 1)}\n`);
}

/** Writes docs/performance.md and its plots from all results that are kept. */
export function writePage(order: readonly string[]): void {
  const files = readdirSync(RESULTS).filter((file) => file.endsWith('.json'));
  const results = files
    .map((file) => JSON.parse(readFileSync(join(RESULTS, file), 'utf8')) as Result)
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  mkdirSync(join(DOCS, 'performance'), { recursive: true });
  const text = (path: string): string => readFileSync(path, 'utf8').trimEnd();
  const page = `${[text(NOTES), ...results.map(section), text(DIARY)].join('\n\n')}\n`;
  writeFileSync(join(DOCS, 'performance.md'), page);
}

function section(result: Result): string {
  const { name, title, method, when, machine, programs } = result;
  const plots = plotsOf(result).map((plot, index) => {
    const file = `performance/${name}-${index}.svg`;
    writeFileSync(join(DOCS, file), barChart(plot.title, plot.unit, plot.rows));
    return `![${plot.title}, ${plot.unit || 'rate'}](${file})`;
  });
  return [
    `## ${title}`,
    method,
    tables(result),
    ...plots,
    `\`script/bench ${name}\`, ${when}, ${machine}; ${programs.join(', ')}.`,
  ].join('\n\n');
}

interface Plot {
  readonly title: string;
  readonly unit: string;
  readonly rows: readonly Row[];
}

/** By program a plot for each unit; by variant one for each row, a bar for each variant. */
function plotsOf({ title, rows: all, beside, plotted }: Result): Plot[] {
  const rows = all.filter(({ what }) => plotted?.includes(what) ?? true);
  if (beside === undefined) {
    const units = [...new Set(rows.map(({ unit }) => unit))];
    return units.map((unit) => ({ title, unit, rows: rows.filter((row) => row.unit === unit) }));
  }
  return rows.map(({ what, unit, samples }) => {
    const bars = Object.entries(samples).map(([variant, values]) => ({
      what: variant,
      unit,
      samples: { [what]: values },
    }));
    return { title: what, unit, rows: bars };
  });
}

export type Tables = Pick<Result, 'rows' | 'beside' | 'ratiosByRound'>;

/** By program one table; by variant one of the figures and one of their ratios to each variant that is named. */
export function tables({ rows, ...how }: Tables): string {
  const groups = [...new Set(rows.map(({ group }) => group))];
  return groups
    .map((group) => tablesOfGroup({ rows: rows.filter((row) => row.group === group), ...how }))
    .join('\n\n');
}

function tablesOfGroup({ rows, beside, ratiosByRound: byRound = false }: Tables): string {
  if (beside === undefined) return table(rows, byRound);
  const variants = namesIn(rows);
  const lines = (cell: (row: Row, variant: string) => string) =>
    variants.map((variant) => [variant, ...rows.map((row) => cell(row, variant))]);
  return [
    markdown(
      ['', ...rows.map(labelOf)],
      lines(({ samples }, variant) => spread(samples[variant] ?? [])),
    ),
    ...beside
      .filter((other) => variants.includes(other))
      .map((other) =>
        markdown(
          [`times ${other}`, ...rows.map(({ what }) => what)],
          lines(({ samples }, variant) => spread(ratiosByRound(samples[variant], samples[other]))),
        ),
      ),
  ].join('\n\n');
}

const labelOf = ({ what, unit }: Row): string => (unit === '' ? what : `${what}, ${unit}`);

/** Samples of the same round, one by the other. */
const ratiosByRound = (samples: readonly number[] = [], others: readonly number[] = []): number[] =>
  samples.slice(0, others.length).map((sample, round) => sample / (others[round] ?? Number.NaN));

const namesIn = (rows: readonly Row[]): string[] => [
  ...new Set(rows.flatMap(({ samples }) => Object.keys(samples))),
];

const markdown = (head: readonly string[], lines: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** Medians with the least and the greatest, and ours as a multiple of each other program's. */
function table(rows: readonly Row[], byRound: boolean): string {
  const programs = namesIn(rows);
  const [ours = '', ...others] = programs;
  const hasTargets = rows.some(({ target }) => target !== undefined);
  const head = [
    '',
    ...programs,
    ...others.map((other) => `${ours} / ${other}`),
    ...(hasTargets ? ['target'] : []),
  ];
  const lines = rows.map((row) => [
    labelOf(row),
    ...programs.map((program) => spread(row.samples[program] ?? [])),
    ...others.map((other) => ratioText(ratioOf(row, ours, other, byRound))),
    ...(hasTargets ? [verdict(row, programs)] : []),
  ]);
  return markdown(head, lines);
}

function ratioOf({ samples }: Row, ours: string, other: string, byRound = false): number | undefined {
  const [mine, theirs] = [samples[ours], samples[other]];
  if (mine === undefined || theirs === undefined) return undefined;
  return byRound ? median(ratiosByRound(mine, theirs)) : median(mine) / median(theirs);
}

const ratioText = (ratio: number | undefined): string => (ratio === undefined ? '–' : `${figure(ratio)} ×`);

function verdict(row: Row, [ours = '', other = '']: readonly string[]): string {
  const { target, samples } = row;
  if (target === undefined) return '';
  if ('atMost' in target) {
    const met = median(samples[ours] ?? []) <= target.atMost;
    return `≤ ${target.atMost}: ${met ? 'met' : '**missed**'}`;
  }
  const ratio = ratioOf(row, ours, other);
  if (ratio === undefined) return `≤ ${target.ratio} ×`;
  return `≤ ${target.ratio} ×: ${ratio <= target.ratio ? 'met' : '**missed**'}`;
}
