import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EndpointMemory, type EndpointSight } from '#src/kernel/endpoint-memory.ts';
import type { Endpoint } from '#src/lib/endpoint.ts';
import { parseIp } from '#src/lib/ip.ts';

const at = (text: string, port = 51_820): Endpoint => ({ ip: parseIp(text) ?? assert.fail(text), port });
const LEASE = at('192.0.2.9');
const NAT = at('198.51.100.7', 34_567);
const NOW = 1_800_000_000_000;
const MINUTE = 60_000;

const sight = (endpoint: Endpoint | undefined, received: number, more: Partial<EndpointSight> = {}) => ({
  ...(endpoint !== undefined && { endpoint }),
  handshakeAt: NOW,
  received,
  sent: 0,
  ...more,
});

/** A peer that was given its lease's endpoint, and looked at once. */
function given(): EndpointMemory {
  const memory = new EndpointMemory();
  assert.deepEqual(memory.give('k', LEASE), LEASE);
  assert.deepEqual(memory.see('k', sight(LEASE, 100), NOW), LEASE);
  return memory;
}

test('a peer that is heard from another address is followed, and what was given counts', () => {
  const memory = given();
  assert.deepEqual(memory.see('k', sight(NAT, 200), NOW), LEASE);
  assert.ok(memory.hasLearnt);
  // Silence does not change that.
  assert.deepEqual(memory.see('k', sight(NAT, 200), NOW + MINUTE), LEASE);
  // Whatever else is set, the endpoint stays.
  assert.equal(memory.give('k', LEASE), undefined);
});

test('another address without a byte from the peer is drift, at every look', () => {
  const memory = given();
  assert.deepEqual(memory.see('k', sight(NAT, 100), NOW), NAT);
  assert.deepEqual(memory.see('k', sight(NAT, 100), NOW), NAT);
  assert.deepEqual(memory.give('k', LEASE), LEASE);
  assert.deepEqual(memory.see('k', sight(LEASE, 100), NOW), LEASE);
  assert.ok(!memory.hasLearnt);
});

test('the bytes of the last look count, not those of the last reading', () => {
  const memory = given();
  assert.deepEqual(memory.see('k', sight(NAT, 5_000), NOW, 5_000), NAT);
  assert.deepEqual(given().see('k', sight(NAT, 5_001), NOW, 5_000), LEASE);
});

test('a lease that names another endpoint moves a peer that was followed', () => {
  const memory = given();
  memory.see('k', sight(NAT, 200), NOW);
  const moved = at('192.0.2.10');
  assert.deepEqual(memory.give('k', moved), moved);
  assert.deepEqual(memory.see('k', sight(moved, 200), NOW), moved);
  assert.deepEqual(memory.see('k', sight(NAT, 300), NOW), moved);
});

test('after a start, a peer that is heard is followed from where it is', () => {
  const memory = new EndpointMemory();
  assert.deepEqual(memory.see('k', sight(NAT, 900), NOW + MINUTE), NAT);
  assert.equal(memory.give('k', LEASE), undefined);
  assert.deepEqual(memory.see('k', sight(NAT, 900), NOW + MINUTE), LEASE);
});

test('after a start, a peer that is not heard gets its lease’s endpoint', () => {
  const memory = new EndpointMemory();
  assert.deepEqual(memory.see('k', sight(NAT, 900, { handshakeAt: NOW - 4 * MINUTE }), NOW), NAT);
  assert.deepEqual(memory.give('k', LEASE), LEASE);
});

test('an endpoint that was learnt is given up when packets to it are not answered', () => {
  const memory = given();
  memory.see('k', sight(NAT, 200), NOW);
  const later = NOW + 10 * MINUTE;
  // A session that nobody uses is no reason.
  for (const seconds of [0, 20, 40])
    assert.deepEqual(memory.see('k', sight(NAT, 200, { sent: 7 }), later + seconds * 1_000), LEASE);
  assert.deepEqual(memory.see('k', sight(NAT, 200, { sent: 8 }), later + 50_000), LEASE);
  assert.deepEqual(memory.see('k', sight(NAT, 200, { sent: 9 }), later + 60_000), NAT);
  assert.deepEqual(memory.give('k', LEASE), LEASE);
});

test('an answer keeps the endpoint', () => {
  const memory = given();
  memory.see('k', sight(NAT, 200), NOW);
  const later = NOW + 10 * MINUTE;
  memory.see('k', sight(NAT, 200, { sent: 7 }), later);
  memory.see('k', sight(NAT, 200, { sent: 8 }), later + 10_000);
  const heard = { sent: 9, handshakeAt: later + 12_000 };
  assert.deepEqual(memory.see('k', sight(NAT, 300, heard), later + 20_000), LEASE);
});

test('a peer without an endpoint has none, and one that was forgotten is new', () => {
  const memory = given();
  assert.equal(memory.see('k', sight(undefined, 100), NOW), undefined);
  memory.see('k', sight(NAT, 200), NOW);
  memory.keep(new Set());
  assert.ok(!memory.hasLearnt);
  assert.deepEqual(memory.give('k', LEASE), LEASE);
});
