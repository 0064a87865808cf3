interface Interval {
  readonly from: Buffer;
  /** Not part of it. */
  readonly to: Buffer;
}

/** Intervals that do not overlap, in order. */
type Run = readonly Interval[];

/**
 * A set of keys and ranges of keys. It answers whether two sets meet in logarithmic time for each member of the
 * smaller one, and takes in another set without going through all it has: it is a few sorted runs, each at
 * least twice as long as the next.
 */
export class KeyIntervals {
  readonly #runs: Run[] = [];

  /** Empty intervals are left out. */
  static of(intervals: readonly Interval[]): KeyIntervals {
    const set = new KeyIntervals();
    const sorted = intervals.filter(({ from, to }) => Buffer.compare(from, to) < 0).sort(byFrom);
    if (sorted.length > 0) set.#runs.push(merged(sorted));
    return set;
  }

  meets(other: KeyIntervals): boolean {
    return this.#runs.some((mine) => other.#runs.some((theirs) => meet(mine, theirs)));
  }

  /** Takes in all of `other`, which is not to be used afterwards. */
  add(other: KeyIntervals): void {
    this.#runs.push(...other.#runs);
    this.#runs.sort((a, b) => b.length - a.length);
    for (;;) {
      const [long = [], short = []] = this.#runs.slice(-2);
      if (this.#runs.length < 2 || long.length >= short.length * 2) return;
      this.#runs.splice(-2, 2, union(long, short));
      this.#runs.sort((a, b) => b.length - a.length);
    }
  }
}

function byFrom(a: Interval, b: Interval): number {
  return Buffer.compare(a.from, b.from);
}

/** Joins those of a sorted list that overlap. */
function merged(sorted: Iterable<Interval>): Run {
  const run: Interval[] = [];
  for (const interval of sorted) {
    const last = run.at(-1);
    if (last === undefined || Buffer.compare(last.to, interval.from) <= 0) run.push(interval);
    else if (Buffer.compare(last.to, interval.to) < 0) run[run.length - 1] = { ...last, to: interval.to };
  }
  return run;
}

function union(a: Run, b: Run): Run {
  return merged(inOrder(a, b));
}

function* inOrder(a: Run, b: Run): Generator<Interval> {
  let [i, j] = [0, 0];
  for (;;) {
    const [mine, theirs] = [a[i], b[j]];
    if (mine !== undefined && (theirs === undefined || byFrom(mine, theirs) <= 0)) {
      yield mine;
      i++;
    } else if (theirs !== undefined) {
      yield theirs;
      j++;
    } else return;
  }
}

function meet(a: Run, b: Run): boolean {
  const [few, many] = a.length <= b.length ? [a, b] : [b, a];
  return few.some(({ from, to }) => {
    const before = many[lastBefore(many, to)];
    return before !== undefined && Buffer.compare(before.to, from) > 0;
  });
}

/** The place of the last interval that begins before `end`; -1 when there is none. */
function lastBefore(run: Run, end: Buffer): number {
  let [low, high] = [0, run.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const interval = run[middle];
    if (interval !== undefined && Buffer.compare(interval.from, end) < 0) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
