/**
 * The word of a list that was probably meant: the one that takes the fewest changes of one letter
 * (another, one more, one less, two in the wrong order), if they are fewer than half of its
 * letters. `undefined` when none is that near.
 */
export function nearestWord(given: string, words: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const word of words) {
    const changes = changesBetween(given, word);
    if (changes >= least || changes * 2 >= Math.max(given.length, word.length)) continue;
    least = changes;
    best = word;
  }
  return best;
}

/** `did you mean peers?`, or `otherwise`. For the end of a message about a wrong word. */
export function didYouMean(given: string, words: Iterable<string>, otherwise: string): string {
  const nearest = nearestWord(given, words);
  return nearest === undefined ? otherwise : `did you mean ${nearest}?`;
}

/** The optimal string alignment distance. */
function changesBetween(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const next = [row];
    for (let column = 1; column <= b.length; column++) {
      const isSame = a[row - 1] === b[column - 1];
      const isSwapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      next[column] = Math.min(
        at(last, column) + 1,
        at(next, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        isSwapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = next;
  }
  return at(last, b.length);
}

const at = (row: readonly number[], column: number): number => row[column] ?? Number.POSITIVE_INFINITY;
