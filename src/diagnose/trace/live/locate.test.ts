import assert from 'node:assert/strict';
import { test } from 'node:test';
import { locate, type WatchedEnd } from '#src/diagnose/trace/live/locate.ts';
import type { Station } from '#src/diagnose/trace/live/stations.ts';
import type { Sighting, WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';

const STATIONS: readonly Station[] = [
  { device: 'eth0', in: 'container', wrapped: false, leaving: 'container', entering: 'arrival-bridge' },
  { device: 'veth1', in: 'host', wrapped: false, leaving: 'bridge', entering: 'arrival-bridge' },
  { device: 'docker0', in: 'host', wrapped: false, leaving: 'bridge', entering: 'arrival-filter' },
  { device: 'flannel.1', in: 'host', wrapped: false, leaving: 'forward-filter', entering: 'input-filter' },
  { device: 'eth0', in: 'host', wrapped: true, leaving: 'output-filter', entering: 'wire' },
];
/** As each host sees a packet that leaves, from the container to the wire. */
const OUT = ['out', 'in', 'in', 'out', 'out'] as const;
const IN = ['in', 'out', 'out', 'in', 'in'] as const;

/** The first so many sightings of the whole way: 5 out of h1, 5 into h2, 5 out of h2, 5 into h1. */
function seen(count: number): [WatchAnswer, WatchAnswer] {
  const h1: Sighting[] = [];
  const h2: Sighting[] = [];
  for (let at = 0; at < count; at++) {
    const [leg, step] = [Math.floor(at / 5), at % 5];
    const isOut = leg % 2 === 0;
    const station = isOut ? step : 4 - step;
    const kind = leg < 2 ? 'request' : 'answer';
    const direction = (isOut ? OUT : IN)[station] ?? 'in';
    (leg === 0 || leg === 3 ? h1 : h2).push({ station, kind, direction, at: String(at) });
  }
  return [
    { host: 'h1', stations: STATIONS, sightings: h1 },
    { host: 'h2', stations: STATIONS, sightings: h2 },
  ];
}

/** The hop behind each number of sightings. */
const LOST = [
  ...['there h1 container', 'there h1 bridge', 'there h1 bridge', 'there h1 forward-filter'],
  ...['there h1 output-filter', 'there h1 wire', 'there h2 input-filter', 'there h2 arrival-filter'],
  ...['there h2 arrival-bridge', 'there h2 arrival-bridge', 'there h2 arrival-container'],
  ...['back h2 bridge', 'back h2 bridge', 'back h2 forward-filter', 'back h2 output-filter', 'back h2 wire'],
  ...['back h1 input-filter', 'back h1 arrival-filter', 'back h1 arrival-bridge', 'back h1 arrival-bridge'],
];

for (const [count, expected] of LOST.entries()) {
  test(`seen at ${count} of 20 places: lost at ${expected}`, () => {
    const { lost } = locate(...seen(count));
    assert.equal(`${lost?.way} ${lost?.host} ${lost?.hop}`, expected);
    assert.equal(lost?.after === undefined, count === 0);
  });
}

test('seen everywhere: it is not lost', () => {
  const { lost, sights } = locate(...seen(20));
  assert.equal(lost, undefined);
  assert.equal(sights.length, 20);
});

test('a place that was missed does not count when the packet was seen further on', () => {
  const [h1, h2] = seen(8);
  const { lost } = locate({ ...h1, sightings: h1.sightings.slice(2) }, h2);
  assert.equal(lost?.hop, 'arrival-bridge');
});

test('a host that does not watch: lost on the wire, or there', () => {
  const blind: WatchedEnd = { host: 'h2', why: 'nothing answers' };
  const { lost } = locate(seen(12)[0], blind);
  assert.deepEqual([lost?.way, lost?.host, lost?.hop], ['there', 'h1', 'wire']);
  assert.deepEqual(lost?.orThere, { host: 'h2', why: 'nothing answers' });
  assert.equal(locate(seen(20)[0], blind).lost, undefined);
});

test('sent from the host itself: the bridge is not expected to see it', () => {
  const [h1, h2] = seen(0);
  const stations = STATIONS.slice(2);
  const { lost, sights } = locate({ ...h1, stations }, { ...h2, stations });
  assert.equal(lost?.hop, 'forward-filter');
  assert.equal(sights[0]?.device, 'flannel.1');
});
