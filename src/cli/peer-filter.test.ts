import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countPeers, filterOf, stateOf } from '#src/cli/peer-filter.ts';
import type { Peer } from '#src/observe/api.ts';

const way = { sent: 10, answered: 10, roundTripMs: 0.4, fullSize: 'passes' } as const;
const probed = (state: 'up' | 'degraded' | 'down') => ({
  at: '2026-01-01T00:00:00Z',
  state,
  findings: [],
  tunnel: way,
  underlay: way,
  tcp: 'answered' as const,
  responder: true,
});

const peer = (n: number, parts: Partial<Peer> = {}): Peer => ({
  lease: `10.5.${n}.0-24`,
  subnet: `10.5.${n}.0/24`,
  publicIp: `172.16.0.${n}`,
  backend: 'vxlan',
  node: `${n}a0b1c2d-0000-4000-8000-000000000000`,
  vtep: { address: `10.5.${n}.0`, mac: '02:00:00:00:00:01' },
  lastSeen: '2026-01-01T00:00:00Z',
  programmed: 'yes',
  since: '2026-01-01T00:00:00Z',
  ...parts,
});

const PEERS = [
  peer(1, { probe: probed('up') }),
  peer(2, { probe: probed('down') }),
  peer(3, { programmed: 'quarantined', reason: 'its key is not a subnet' }),
  peer(4, { programmed: 'no', probe: probed('up') }),
  peer(5),
];

const chosen = (...words: string[]): string[] => PEERS.filter(filterOf(words)).map(({ lease }) => lease);

test('a peer is in one state', () => {
  assert.deepEqual(PEERS.map(stateOf), ['up', 'down', 'quarantined', 'missing', 'unmeasured']);
  assert.deepEqual(countPeers(PEERS), {
    up: 1,
    degraded: 0,
    down: 1,
    missing: 1,
    quarantined: 1,
    unmeasured: 1,
  });
});

test('without words all peers are meant', () => {
  assert.equal(chosen().length, PEERS.length);
});

test('an address, a subnet, a lease, a public IP and the beginning of a node mean one peer', () => {
  for (const word of ['10.5.2.77', '10.5.2.0/24', '10.5.2.0-24', '172.16.0.2', '2a0b'])
    assert.deepEqual(chosen(word), ['10.5.2.0-24'], word);
});

test('words of one sort add up, and words of two sorts narrow down', () => {
  assert.deepEqual(chosen('down', 'quarantined'), ['10.5.2.0-24', '10.5.3.0-24']);
  assert.deepEqual(chosen('10.5.1.1', '10.5.2.1'), ['10.5.1.0-24', '10.5.2.0-24']);
  assert.deepEqual(chosen('10.5.1.1', '10.5.2.1', 'down'), ['10.5.2.0-24']);
  assert.deepEqual(chosen('10.5.1.1', 'down'), []);
});

test('a word that says nothing of a peer is refused with the nearest that does', () => {
  assert.throws(() => filterOf(['quarantine']), {
    code: 'usage',
    message: '"quarantine" is no address, lease, node or state of a peer; did you mean quarantined?',
  });
});
