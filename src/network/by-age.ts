import { Heap } from '#src/lib/heap.ts';
import { compareAge } from '#src/network/lease-claims.ts';
import type { RawLease } from '#src/network/lease-rules.ts';

/** Records that are sorted in one go: a millisecond or two of work. */
const RUN = 2_048;

interface Aged {
  readonly raw: RawLease;
  readonly name: string;
  readonly age: number;
}

/**
 * The records in the order in which their keys were created, in slices. Sorting 50,000 at once would hold up the event
 * loop, so it is done in runs, with an empty slice after each, and the runs are merged as the slices are taken.
 */
export function* byAge(raws: readonly RawLease[], slice: number): Generator<readonly RawLease[]> {
  const runs: Run[] = [];
  for (let at = 0; at < raws.length; at += RUN) {
    runs.push(new Run(raws.slice(at, at + RUN)));
    if (at + RUN < raws.length) yield [];
  }
  const heads = new Heap(compareHeads, runs);
  for (;;) {
    const next = merge(heads, slice);
    if (next.length === 0) return;
    yield next;
  }
}

/** Takes this many of all runs together, in order. */
function merge(runs: Heap<Run>, count: number): RawLease[] {
  const taken: RawLease[] = [];
  for (let run = runs.peek(); run !== undefined && taken.length < count; run = runs.peek()) {
    taken.push(run.take());
    runs.pop();
    if (run.head !== undefined) runs.push(run);
  }
  return taken;
}

/** Some records in order, taken one after the other. */
class Run {
  readonly #aged: readonly Aged[];
  #next = 0;

  constructor(raws: readonly RawLease[]) {
    this.#aged = raws.map((raw) => ({ raw, name: raw.name, age: ageOf(raw) })).sort(compareAge);
  }

  get head(): Aged | undefined {
    return this.#aged[this.#next];
  }

  take(): RawLease {
    const aged = this.#aged[this.#next++];
    if (aged === undefined) throw new RangeError('the run has no more records');
    return aged.raw;
  }
}

/** Runs that are empty are not compared. */
const compareHeads = ({ head: a }: Run, { head: b }: Run): number =>
  a === undefined || b === undefined ? 0 : compareAge(a, b);

/** The revision that created the key. Revisions below 2^53 are exact, and no store comes to others. */
export const ageOf = ({ created, revision }: Pick<RawLease, 'created' | 'revision'>): number =>
  Number(created ?? revision);
