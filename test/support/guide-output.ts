import type { Expected } from './guide.ts';

/** What a guide's example texts were in a run: `10.0.65.2` of the page is `10.0.17.2` today. */
export type Examples = ReadonlyMap<string, string>;

/**
 * The examples of an expected output, with what was printed in their places; `undefined` when the output is another one.
 * Any number of spaces equals any other, for columns move with what is in them.
 */
export function matchOutput(expected: Expected, output: string, known: Examples): Examples | undefined {
  const examples = [...expected.varies].sort((a, b) => b.length - a.length);
  const groups: string[] = [];
  const part = (text: string): string => {
    const example = examples.find((it) => text.includes(it));
    if (example !== undefined) {
      const [before = '', ...after] = text.split(example);
      const left = part(before);
      // The second place of an example has to have what the first one had.
      const seen = groups.indexOf(example) + 1;
      if (seen === 0) groups.push(example);
      return `${left}${seen === 0 ? `(${shapeOf(example)})` : `(?:\\${seen})`}${part(after.join(example))}`;
    }
    return text
      .split('…')
      .map((it) => withExamples(it, known).split(/ +/).map(literal).join(' +'))
      .join('[^\\n]*');
  };
  const lines = expected.text
    .trimEnd()
    .split('\n')
    .map((line) => (line.trim() === '…' ? '(?:[^\\n]*\\n)*' : `${part(line.trimEnd())} *\\n`));
  const found = new RegExp(`^${lines.join('')}$`).exec(`${output.trimEnd()}\n`);
  if (found === null) return undefined;
  return new Map(groups.map((example, n) => [example, found[n + 1] ?? '']));
}

/** A script of the guide with what the reader has in place of the examples. */
export function withExamples(text: string, examples: Examples): string {
  const longestFirst = [...examples.keys()].sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return text;
  const any = new RegExp(`(?<![\\w.:-])(?:${longestFirst.map(literal).join('|')})(?!\\w)`, 'g');
  return text.replaceAll(any, (example) => examples.get(example) ?? example);
}

/** Numbers and addresses stand for their like, words for one word. */
function shapeOf(example: string): string {
  if (/^\d+$/.test(example)) return '\\d+';
  if (/^[\d.]+$/.test(example)) return '[\\d.]*\\d';
  if (/^[\da-f.:/-]+$/.test(example)) return '[\\da-f.:/-]+';
  return '\\S+';
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
