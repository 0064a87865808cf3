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
}

const GAP = '  ';

/**
 * Rows as lines, each column as wide as its widest cell. The first row is the head. Where a line would be wider than
 * `width`, cells of the columns of `cut` end with `…`; without such columns lines may be wider.
 */
export function formatTable(
  rows: readonly (readonly Cell[])[],
  { width = Number.POSITIVE_INFINITY, cut = [], right = [], hasColour = false }: TableOptions = {},
): string[] {
  const cells = rows.map((row) => row.map((cell) => plainText(textOf(cell))));
  const widths = fitting(widthsOf(cells), width, cut);
  return rows.map((row, line) => {
    const texts = row.map((cell, column) => {
      const most = widths[column] ?? 0;
      const text = cutTo(cells[line]?.[column] ?? '', most);
      const fill = ' '.repeat(most - lengthOf(text));
      const shown = inTone(text, typeof cell === 'string' ? undefined : cell.tone, hasColour);
      const isLast = column === row.length - 1;
      return right.includes(column) ? fill + shown : isLast ? shown : shown + fill;
    });
    return texts.join(GAP).trimEnd();
  });
}

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
  let excess = fitted.reduce((sum, each) => sum + each, 0) + GAP.length * (fitted.length - 1) - width;
  while (excess > 0) {
    const widest = cut.toSorted((a, b) => (fitted[b] ?? 0) - (fitted[a] ?? 0))[0];
    const now = widest === undefined ? 0 : (fitted[widest] ?? 0);
    if (widest === undefined || now <= LEAST) break;
    fitted[widest] = now - 1;
    excess--;
  }
  return fitted;
}
