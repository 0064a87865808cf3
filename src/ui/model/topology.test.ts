import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Link, SourceState } from '#src/ui/model/feed.ts';
import { ringPlaces, tileAt, tilePlace, tilesOf } from '#src/ui/model/layout.ts';
import { joinSeries, perSeries, type Series } from '#src/ui/model/series.ts';
import { countStates, describeLink, networksOf, topologyOf, worstFirst } from '#src/ui/model/topology.ts';

const source = (
  id: string,
  lease: string,
  links: readonly Link[],
  more: Partial<SourceState> = {},
): SourceState => ({
  ...{ id, host: id, kind: 'network', answers: true, since: '2026-01-01T12:00:00.000Z', links },
  own: { version: '0.1.0', node: id, ready: true, troubles: [], lease },
  ...more,
});
const link = (peer: string, state: Link['state'] = 'up'): Link => ({
  peer,
  state,
  publicIp: `172.16.70.${peer.length}`,
});

test('two hosts see each other, each with its own view; a third is known from them', () => {
  const sources = [
    source('h1', '10.0.9.0-24', [link('10.0.10.0-24', 'down'), link('10.0.11.0-24')]),
    source('h2', '10.0.10.0-24', [link('10.0.9.0-24'), link('10.0.11.0-24')], { answers: false }),
  ];
  const { hosts, links, byKey } = topologyOf(sources, '');
  assert.deepEqual(
    hosts.map(({ name, source }) => [name, source !== undefined]),
    [
      ['172.16.70.12', false],
      ['h1', true],
      ['h2', true],
    ],
  );
  assert.equal(links.length, 4);
  assert.equal(byKey.get('10.0.9.0-24>10.0.10.0-24')?.link.state, 'down');
  assert.equal(byKey.get('10.0.10.0-24>10.0.9.0-24')?.link.state, 'up');
  assert.equal(byKey.get('10.0.10.0-24>10.0.9.0-24')?.stale, true);
  assert.deepEqual(countStates(links), [
    ['down', 1],
    ['up', 3],
  ]);
  assert.equal(worstFirst(links)[0]?.link.state, 'down');
  assert.equal(describeLink(worstFirst(links)[0] ?? assert.fail()), 'h1 to h2: down');
});

test('networks are kept apart, and Docker’s driver is none of them', () => {
  const sources = [
    source('a', '10.0.1.0-24', [], { network: 'red' }),
    source('b', '10.1.1.0-24', [link('10.1.2.0-24')], { network: 'blue' }),
    source('docker', '10.2.0.0-24', [], { kind: 'driver' }),
  ];
  assert.deepEqual(networksOf(sources), ['blue', 'red']);
  assert.equal(topologyOf(sources, 'red').hosts.length, 1);
  assert.equal(topologyOf(sources, 'blue').hosts.length, 2);
});

test('hosts on a ring do not cover each other', () => {
  const hosts = Array.from({ length: 40 }, (_, n) => ({ key: `${n}`, name: `h${n}` }));
  const places = [...ringPlaces(hosts, { width: 900, height: 560, middle: hosts[0] }).values()];
  assert.equal(places.length, 40);
  for (const [n, a] of places.entries())
    for (const b of places.slice(n + 1)) assert.ok(Math.hypot(a.x - b.x, a.y - b.y) > 30);
});

test('a tile is found where it was placed, and nothing is between groups', () => {
  const members = Array.from({ length: 1000 }, (_, n) => n);
  const options = { width: 1000, size: 22, labelHeight: 20, labelOf: (n: number) => `group ${n % 3}` };
  const tiles = tilesOf(members, options);
  for (const group of tiles.groups) {
    for (const [n, member] of group.members.entries()) {
      const { x, y } = tilePlace(tiles, group, n);
      assert.equal(tileAt(tiles, { x: x + 11, y: y + 11 }), member);
    }
    assert.equal(tileAt(tiles, { x: 5, y: group.y + 5 }), undefined);
  }
  assert.equal(tileAt(tiles, { x: 5, y: tiles.height + 50 }), undefined);
});

test('points are joined, and those older than an hour are dropped', () => {
  const series = (time: number[]): Series => ({ everySeconds: 5, time, columns: perSeries(() => time) });
  const joined = joinSeries(series([0, 5, 3_600]), series([3_605]));
  assert.deepEqual(joined.time, [5, 3_600, 3_605]);
  assert.deepEqual(joined.columns.failing, [5, 3_600, 3_605]);
});
