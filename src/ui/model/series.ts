/** The figures that are kept over time. */
export const SERIES = {
  peersUp: 'Peers that answer',
  roundTripMs: 'Round trip, median, ms',
  repairs: 'Repairs since the point before',
  failing: 'Objects that fail',
  eventLoopDelayMs: 'Event loop delay, ms',
} as const;
export type SeriesName = keyof typeof SERIES;
export const SERIES_NAMES = Object.keys(SERIES) as SeriesName[];
export type PerSeries<T> = Readonly<Record<SeriesName, T>>;

export const perSeries = <T>(make: (name: SeriesName) => T): PerSeries<T> => ({
  peersUp: make('peersUp'),
  roundTripMs: make('roundTripMs'),
  repairs: make('repairs'),
  failing: make('failing'),
  eventLoopDelayMs: make('eventLoopDelayMs'),
});

/** Columns of the last hour, oldest first. `null`: not known. Times in seconds since the epoch, as uPlot takes them. */
export interface Series {
  readonly everySeconds: number;
  readonly time: readonly number[];
  readonly columns: PerSeries<readonly (number | null)[]>;
}

const HOUR_SECONDS = 3_600;

/** The points of both, of the last hour. */
export function joinSeries(before: Series, fresh: Series): Series {
  const time = [...before.time, ...fresh.time];
  const first = (time.at(-1) ?? 0) - HOUR_SECONDS;
  const drop = time.filter((at) => at < first).length;
  return {
    ...fresh,
    time: time.slice(drop),
    columns: perSeries((name) => [...before.columns[name], ...fresh.columns[name]].slice(drop)),
  };
}
