import { plainText } from '#src/cli/plain-text.ts';
import { inTone, type Tone } from '#src/cli/screen.ts';

/** A text, or one with what its colour says. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

export interface TableOptions {
  /** Columns of the terminal that a line may take. Default: as many as it needs. */
  readonly width?: number;
  /** Columns of the table that may be cut, by number. The one that is widest is cut first. */
  readonly cut?: readonly number[];
  /** Columns of the table whose cells are numbers: they end at the same place. */
  readonly right?: readonly number[];
  readonly hasColour?: boolean;
  /** The last column has sentences: they go on in the next line, below their beginning. */
  readonly wrap?: boolean;
}

const GAP = '  ';

/**
 * Rows as lines, each column as wide as its widest cell. The first row is the head. Where a line would be wider than
 * `width`, cells of the columns of `cut` end with `…`; without such columns lines may be wider.
 */
export function formatTable(
  rows: readonly (readonly Cell[])[],
  {
    width = Number.POSITIVE_INFINITY,
    cut = [],
    right = [],
    hasColour = false,
    wrap = false,
  }: TableOptions = {},
): string[] {
  const cells = rows.map((row) => row.map((cell) => plainText(textOf(cell))));
  const last = Math.max(0, ...rows.map((row) => row.length - 1));
  const widths = fitting(widthsOf(cells), width, wrap ? [...cut, last] : cut);
  return rows.flatMap((row, line) => {
    let rest: readonly string[] = [];
    const texts = row.map((cell, column) => {
      const most = widths[column] ?? 0;
      const whole = cells[line]?.[column] ?? '';
      if (wrap && column === last) {
        const [first = '', ...more] = wrapText(whole, most);
        rest = more;
        return first;
      }
      const text = cutTo(whole, most);
      const fill = ' '.repeat(most - lengthOf(text));
      const shown = inTone(text, typeof cell === 'string' ? undefined : cell.tone, hasColour);
      const isLast = column === row.length - 1;
      return right.includes(column) ? fill + shown : isLast ? shown : shown + fill;
    });
    const indent = ' '.repeat(totalOf(widths.slice(0, -1)) + GAP.length);
    return [texts.join(GAP).trimEnd(), ...rest.map((text) => indent + text)];
  });
}

/** The text in lines of so many columns at most. A word that is longer is cut in pieces. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').flatMap((whole) => piecesOf(whole, width))) {
    if (line !== '' && lengthOf(line) + 1 + lengthOf(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** A remark below a table, indented, in lines of so many columns at most. */
export const noteLines = (text: string, width = Number.POSITIVE_INFINITY): string[] =>
  wrapText(plainText(text), width - NOTE_INDENT.length).map((line, at) =>
    at === 0 ? `  ${line}` : `${NOTE_INDENT}${line}`,
  );

const NOTE_INDENT = '    ';

function piecesOf(word: string, width: number): string[] {
  const letters = [...word];
  const pieces: string[] = [];
  do pieces.push(letters.splice(0, width).join(''));
  while (letters.length > 0);
  return pieces;
}

/** Of these columns, with the gaps between them. */
const totalOf = (widths: readonly number[]): number =>
  widths.reduce((sum, each) => sum + each, 0) + GAP.length * Math.max(0, widths.length - 1);

/** The text in so many columns at most: what is longer ends with `…`. */
export function cutTo(text: string, width: number): string {
  if (lengthOf(text) <= width) return text;
  return `${[...text].slice(0, Math.max(0, width - 1)).join('')}…`;
}

const textOf = (cell: Cell): string => (typeof cell === 'string' ? cell : cell.text);

/** Characters, not halves of them. */
const lengthOf = (text: string): number => [...text].length;

function widthsOf(cells: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of cells)
    for (const [column, cell] of row.entries())
      widths[column] = Math.max(widths[column] ?? 0, lengthOf(cell));
  return widths;
}

/** A column is not cut to fewer characters than this. */
const LEAST = 8;

function fitting(widths: readonly number[], width: number, cut: readonly number[]): number[] {
  const fitted = [...widths];
  let excess = totalOf(fitted) - width;
  while (excess > 0) {
    const widest = cut.toSorted((a, b) => (fitted[b] ?? 0) - (fitted[a] ?? 0))[0];
    const now = widest === undefined ? 0 : (fitted[widest] ?? 0);
    if (widest === undefined || now <= LEAST) break;
    fitted[widest] = now - 1;
    excess--;
  }
  return fitted;
}
