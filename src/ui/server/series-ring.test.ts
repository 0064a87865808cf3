import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceState } from '#src/ui/model/feed.ts';
import { perSeries } from '#src/ui/model/series.ts';
import { pointOf, SeriesRing } from '#src/ui/server/series-ring.ts';

test('the ring keeps the last points, and gives those after a time', () => {
  const ring = new SeriesRing({ capacity: 3, everySeconds: 5 });
  for (const n of [1, 2, 3, 4])
    ring.add(
      n * 5_000,
      perSeries(() => (n === 3 ? undefined : n)),
    );
  assert.deepEqual(ring.after(0).time, [10, 15, 20]);
  assert.deepEqual(ring.after(0).columns.failing, [2, null, 4]);
  assert.deepEqual(ring.after(15_000).time, [20]);
});

test('a point of a host: medians, counts, and repairs since the point before', () => {
  const link = (state: 'up' | 'down' | 'unused', roundTripMs?: number) => ({
    peer: state,
    state,
    ...(roundTripMs !== undefined && { roundTripMs }),
  });
  const source: SourceState = {
    ...{ id: 'h1', host: 'h1', kind: 'network', answers: true, since: '' },
    own: { version: '', node: '', ready: true, troubles: [], failing: 2, repairs: 7, eventLoopDelayMs: 4 },
    links: [link('up', 3), link('up', 1), link('up', 2), link('down'), link('unused')],
  };
  const expected = { peersUp: 3, roundTripMs: 2, repairs: 2, failing: 2, eventLoopDelayMs: 4 };
  assert.deepEqual(pointOf(source, 5), expected);
  assert.equal(pointOf(source, undefined).repairs, undefined, 'the first point');
  assert.equal(pointOf(source, 100).repairs, 7, 'a new process counts from 0');
  assert.deepEqual(
    pointOf({ ...source, answers: false }, 5),
    perSeries(() => undefined),
  );
});
