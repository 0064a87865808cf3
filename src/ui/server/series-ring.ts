import type { SourceState } from '#src/ui/model/feed.ts';
import { type PerSeries, perSeries, SERIES_NAMES, type Series } from '#src/ui/model/series.ts';

/** What is kept of a moment; `undefined`: not known. */
export type Point = PerSeries<number | undefined>;

/**
 * The last points of one source, in memory of a fixed size: seven numbers a point. The page's server keeps it and not the
 * daemon: who never opens the page pays nothing, and a longer past is Prometheus' trade. So the hour begins when the
 * server starts.
 */
export class SeriesRing {
  readonly #capacity: number;
  readonly #everySeconds: number;
  readonly #time: Float64Array;
  readonly #columns: PerSeries<Float64Array>;
  #count = 0;

  constructor({ capacity, everySeconds }: { readonly capacity: number; readonly everySeconds: number }) {
    this.#capacity = capacity;
    this.#everySeconds = everySeconds;
    this.#time = new Float64Array(capacity);
    this.#columns = perSeries(() => new Float64Array(capacity));
  }

  /** `at`: milliseconds since the epoch. */
  add(at: number, point: Point): void {
    const slot = this.#count++ % this.#capacity;
    this.#time[slot] = at / 1000;
    for (const name of SERIES_NAMES) this.#columns[name][slot] = point[name] ?? Number.NaN;
  }

  /** The points after a time in milliseconds, oldest first. */
  after(time: number): Series {
    const kept = Math.min(this.#count, this.#capacity);
    const slots = Array.from({ length: kept }, (_, n) => (this.#count - kept + n) % this.#capacity).filter(
      (slot) => (this.#time[slot] ?? 0) * 1000 > time,
    );
    return {
      everySeconds: this.#everySeconds,
      time: slots.map((slot) => this.#time[slot] ?? 0),
      columns: perSeries((name) => slots.map((slot) => finite(this.#columns[name][slot]))),
    };
  }
}

const finite = (value: number | undefined): number | null =>
  value === undefined || Number.isNaN(value) ? null : value;

/** The point of a source now. `repairsBefore`: its count at the point before; a smaller one now means a new process. */
export function pointOf(source: SourceState, repairsBefore: number | undefined): Point {
  const { answers, own, links } = source;
  if (!answers || own === undefined) {
    return perSeries(() => undefined);
  }
  const trips = links.flatMap(({ roundTripMs }) => (roundTripMs === undefined ? [] : [roundTripMs]));
  const measured = links.filter(({ state }) => state !== 'unmeasured' && state !== 'unused');
  const { repairs } = own;
  const made = repairs === undefined || repairsBefore === undefined ? undefined : repairs - repairsBefore;
  return {
    peersUp: measured.length === 0 ? undefined : measured.filter(({ state }) => state !== 'down').length,
    roundTripMs: median(trips),
    repairs: made !== undefined && made < 0 ? repairs : made,
    failing: own.failing,
    eventLoopDelayMs: own.eventLoopDelayMs,
  };
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
