import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fastPathLines } from '#src/cli/fast-path-lines.ts';
import { COUNTS } from '#src/fast-path/map-layouts.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';

const ON: FastPathStatus = {
  ...{ state: 'on', reasons: [], containers: 3, peers: 2, slowPeers: [], queues: [], tcp: true },
};
const lines = (status: Partial<FastPathStatus>) => fastPathLines({ ...ON, ...status }, { hasColour: false });

test('one line says how much of the overlay goes fast, and why the rest does not', () => {
  assert.deepEqual(lines({}), ['  fast path  on, 3 container addresses, 2 peers']);
  assert.deepEqual(lines({ packets: { encapsulated: 0 } }), [
    '  fast path  on, 3 container addresses, 2 peers, no packet yet',
  ]);
  const packets = {
    encapsulated: 60,
    decapsulated: 36,
    notFreshOut: 1,
    openingOrClosing: 2,
    otherProtocol: 1,
  };
  assert.deepEqual(lines({ packets: { ...packets, noted: 4 } }), [
    '  fast path  on, 3 container addresses, 2 peers, 96% of 100 packets went fast; slow: 3% new, closing or due to be seen, 1% not TCP or UDP',
  ]);
});

test('every count but those of what went fast, was noted or lost is a reason', () => {
  for (const count of COUNTS) {
    const [line = ''] = lines({ packets: { [count]: 7 } });
    const isReason = !['encapsulated', 'decapsulated', 'noted', 'failed'].includes(count);
    assert.equal(line.includes('slow: 100%'), isReason, count);
  }
});

test('a refusal says why, peers and devices that stay slow are named', () => {
  const slowPeers = [1, 2, 3, 4].map((n) => ({ lease: `10.0.${n}.0-24`, reason: 'it has a direct route' }));
  assert.deepEqual(lines({ state: 'refused', reasons: ['a rule limits a rate'], tcp: false }), [
    '  fast path  refused',
    '             a rule limits a rate',
  ]);
  assert.deepEqual(lines({ slowPeers, queues: [{ device: 'veth1', queue: 'tbf' }] }).slice(1), [
    '  slow       10.0.1.0-24: it has a direct route',
    '  slow       10.0.2.0-24: it has a direct route',
    '  slow       10.0.3.0-24: it has a direct route',
    '             and 1 more',
    '  slow       veth1: packets wait in a queue (tbf)',
  ]);
});
