import type { RawLease } from '#src/network/lease-rules.ts';

/** Records that are sorted in one go: some milliseconds of work. */
const RUN = 4_096;

interface Aged {
  readonly raw: RawLease;
  readonly age: number;
}

/**
 * The records in the order in which their keys were created, in slices. Of 50,000 the sorting alone would hold up the event
 * loop, so it is done in runs, with an empty slice after each, and the runs are merged as the slices are taken.
 */
export function* byAge(raws: readonly RawLease[], slice: number): Generator<readonly RawLease[]> {
  const runs: Run[] = [];
  for (let at = 0; at < raws.length; at += RUN) {
    runs.push(new Run(raws.slice(at, at + RUN)));
    if (at + RUN < raws.length) yield [];
  }
  for (;;) {
    const next = merge(runs, slice);
    if (next.length === 0) return;
    yield next;
  }
}

/** Takes so many of all runs together, in order. */
function merge(runs: readonly Run[], count: number): RawLease[] {
  const taken: RawLease[] = [];
  while (taken.length < count) {
    let first: Run | undefined;
    for (const run of runs) if (run.isBefore(first)) first = run;
    if (first === undefined) break;
    taken.push(first.take());
  }
  return taken;
}

/** Some records in order, taken one after the other. */
class Run {
  readonly #aged: readonly Aged[];
  #next = 0;

  constructor(raws: readonly RawLease[]) {
    this.#aged = raws.map((raw) => ({ raw, age: ageOf(raw) })).sort(compare);
  }

  /** Whether there is a next one, and it comes before that of the other run. */
  isBefore(other: Run | undefined): boolean {
    const mine = this.#aged[this.#next];
    const theirs = other === undefined ? undefined : other.#aged[other.#next];
    return mine !== undefined && (theirs === undefined || compare(mine, theirs) < 0);
  }

  take(): RawLease {
    const aged = this.#aged[this.#next++];
    if (aged === undefined) throw new RangeError('nothing is left');
    return aged.raw;
  }
}

/** Revisions below 2^53 are exact, and no store comes to others. */
const ageOf = ({ created, revision }: RawLease): number => Number(created ?? revision);

const compare = (a: Aged, b: Aged): number => a.age - b.age || (a.raw.name < b.raw.name ? -1 : 1);
