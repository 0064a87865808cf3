import type { Expected } from './guide.ts';

/** What a guide's example texts were in a run: `10.0.65.2` of the page is `10.0.17.2` today. */
export type Examples = ReadonlyMap<string, string>;

/**
 * What was printed in the places of the reader's own examples; `undefined` when the output is another one.
 * Any number of spaces equals any other, for columns move with what is in them.
 */
export function matchOutput(expected: Expected, output: string, known: Examples): Examples | undefined {
  const groups: string[] = [];
  const literals = (text: string): string =>
    withExamples(text, known)
      .split('…')
      .map((it) => it.split(/ +/).map(literal).join(' +'))
      .join('[^\\n]*');
  const pattern = (line: string): string =>
    line
      .split(anyOf([...expected.varies, ...expected.yours]))
      .map((part, n) => {
        if (n % 2 === 0) return literals(part);
        // The second place of an example has to have what the first one had.
        const seen = groups.indexOf(part) + 1;
        if (seen > 0) return `(?:\\${seen})`;
        groups.push(part);
        return `(${shapeOf(part)})`;
      })
      .join('');
  const lines = expected.text
    .trimEnd()
    .split('\n')
    .map((line) => (line.trim() === '…' ? '(?:[^\\n]*\\n)*' : `${pattern(line.trimEnd())} *\\n`));
  const found = new RegExp(`^${lines.join('')}$`).exec(`${output.trimEnd()}\n`);
  if (found === null) return undefined;
  const all = new Map(groups.map((example, n) => [example, found[n + 1] ?? '']));
  return new Map([...all].filter(([example]) => expected.yours.includes(example)));
}

/** A script of the guide with what the reader has in place of the examples. */
export const withExamples = (text: string, examples: Examples): string =>
  text.replaceAll(anyOf([...examples.keys()]), (example) => examples.get(example) ?? example);

/** Where one of the examples stands by itself, the longest first; `10.0.65` does in `10.0.65.2`. */
function anyOf(examples: readonly string[]): RegExp {
  const longestFirst = [...examples].sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return /(?!)/g;
  return new RegExp(`(?<![\\w.:-])(${longestFirst.map(literal).join('|')})(?!\\w)`, 'g');
}

/** Numbers and addresses stand for their like, words for one word. */
function shapeOf(example: string): string {
  if (/^\d+$/.test(example)) return '\\d+';
  if (/^[\d.]+$/.test(example)) return '[\\d.]*\\d';
  if (/^[\da-f.:/-]+$/.test(example)) return '[\\da-f.:/-]+';
  return '\\S+';
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
