import type { Row } from './benchmark.ts';
import { figure, median } from './statistics.ts';

const WIDTH = 760;
const LABEL = 300;
const BAR = 16;
const GAP = 14;
const TOP = 34;
const COLOURS = ['#2563eb', '#9ca3af', '#d97706', '#059669'];

/** Horizontal bars, a group for each row and a bar for each program, with the least and the greatest as a line. */
export function barChart(title: string, unit: string, rows: readonly Row[]): string {
  const programs = [...new Set(rows.flatMap(({ samples }) => Object.keys(samples)))];
  const { scale, logarithmic } = scaleOf(rows.flatMap(({ samples }) => Object.values(samples).flat()));
  const parts: string[] = [];
  let y = TOP;
  for (const { what, samples } of rows) {
    const bars = programs.filter((program) => samples[program] !== undefined).length;
    parts.push(text(LABEL - 8, y + (bars * BAR) / 2 + 3, what, 'end'));
    for (const [index, program] of programs.entries()) {
      const values = samples[program];
      if (values === undefined) continue;
      const x = scale(median(values));
      const [from, to] = [scale(Math.min(...values)), scale(Math.max(...values))];
      const colour = COLOURS[index % COLOURS.length];
      const middle = y + BAR / 2;
      parts.push(
        `<rect x="${LABEL}" y="${y}" width="${Math.max(1, x - LABEL)}" height="${BAR - 3}" fill="${colour}"/>`,
        `<path d="M${from} ${middle - 1.5}H${to}" stroke="#111827" stroke-width="1.5"/>`,
        text(Math.max(x, to) + 6, y + 11, `${figure(median(values))} ${unit}`, 'start'),
      );
      y += BAR;
    }
    y += GAP;
  }
  const legend = programs.map((program, index) => {
    const x = LABEL + index * 130;
    return `<rect x="${x}" y="12" width="10" height="10" fill="${COLOURS[index % COLOURS.length]}"/>${text(x + 15, 21, program, 'start')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${y}" fill="white"/>`,
    ...legend,
    ...(logarithmic ? [text(WIDTH - 8, 21, 'by powers of ten', 'end')] : []),
    ...parts,
    '</svg>\n',
  ].join('\n');
}

/** From 0; by powers of ten where the values are too far apart for one ruler. */
function scaleOf(values: readonly number[]): { scale: (value: number) => number; logarithmic: boolean } {
  const most = Math.max(...values);
  const least = Math.min(...values.filter((value) => value > 0));
  const room = WIDTH - LABEL - 90;
  if (most / least < 50)
    return { scale: (value) => Math.round(LABEL + (value / most) * room), logarithmic: false };
  const [from, to] = [Math.log10(least) - 0.3, Math.log10(most)];
  const part = (value: number) => Math.max(0, Math.log10(Math.max(value, least)) - from) / (to - from);
  return { scale: (value) => Math.round(LABEL + part(value) * room), logarithmic: true };
}

const text = (x: number, y: number, words: string, anchor: 'start' | 'end'): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#111827">${escaped(words)}</text>`;

const escaped = (words: string): string => words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
