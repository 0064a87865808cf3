import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import type { Expiry } from '#src/network/lease.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { LeaseEntry } from '#src/network/lease-table.ts';
import { LeaseList } from '#src/observe/leases-reply.ts';
import { type PeerSources, peersOf } from '#src/observe/peers-reply.ts';

const NOW = Date.UTC(2026, 0, 1, 12);
const VALUE =
  '{"PublicIP":"192.0.2.7","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:07"},"Node":"n7"}';

const raw = (name: string, expiry: Expiry = { kind: 'reservation' }, value = VALUE): RawLease => ({
  name,
  value,
  revision: 1n,
  expiry,
});
const quarantined = (record: RawLease): LeaseEntry => ({
  raw: record,
  seen: 5,
  since: 3,
  reason: 'it clashes',
});
const accepted = (record: RawLease): LeaseEntry => ({
  raw: record,
  seen: 5,
  since: 3,
  lease: {
    ...record,
    subnets: { v4: prefix4(ipv4(0x0a050700), 24) },
    attributes: { publicIp: ipv4(0xc0000207), backendType: 'vxlan', node: 'n7' },
  },
});

const sources = (entries: LeaseEntry[], set: Partial<PeerSources> = {}): PeerSources => ({
  entries,
  backend: { tunnelEnd: () => ({ address: ipv4(0x0a050700), mac: '02:00:00:00:00:07' }) },
  unreachable: new Map(),
  stateOf: () => ({ isDone: true }),
  probeOf: () => undefined,
  timeOf: (seconds) => NOW - 60_000 + seconds * 1_000,
  now: NOW,
  ...set,
});
const NAME = '10.5.7.0-24';
const FACTS = { lease: NAME, subnet: '10.5.7.0/24', publicIp: '192.0.2.7', backend: 'vxlan', node: 'n7' };
const TIMES = { lastSeen: '2026-01-01T11:59:05.000Z', since: '2026-01-01T11:59:03.000Z' };
const END = { vtep: { address: '10.5.7.0', mac: '02:00:00:00:00:07' } };

test('a peer that is used says where it is, since when, and how long its lease lasts', () => {
  const expiry = { kind: 'expires', at: NOW + 86_400_400 } as const;
  const peers = [...peersOf(sources([accepted(raw(NAME, expiry))]))];
  assert.deepEqual(peers, [{ ...FACTS, ...END, ...TIMES, remainingSeconds: 86_400, programmed: 'yes' }]);
});

test('a peer that is not used says why', () => {
  const one = (set: Partial<PeerSources>, entry = accepted(raw(NAME))) => {
    const [peer] = peersOf(sources([entry], set));
    return [peer?.programmed, peer?.reason];
  };
  assert.deepEqual(one({}, quarantined(raw(NAME))), ['quarantined', 'it clashes']);
  assert.deepEqual(one({ unreachable: new Map([[NAME, 'no route']]) }), ['no', 'no route']);
  assert.deepEqual(one({ stateOf: () => ({ isDone: false, key: 'route x' }) }), [
    'no',
    'route x: its turn has yet to come',
  ]);
  assert.deepEqual(one({ stateOf: () => ({ isDone: false, key: 'route x', reason: 'full' }) }), [
    'no',
    'route x: full',
  ]);
});

test('of a record that can not be read only the name is shown', () => {
  const [peer] = peersOf(sources([quarantined(raw('x', { kind: 'reservation' }, '{'))]));
  assert.deepEqual(peer, { lease: 'x', ...TIMES, programmed: 'quarantined', reason: 'it clashes' });
});

const CONFIG = {
  network: prefix4(ipv4(0x0a050000), 16),
  subnetLength: 24,
  subnetMin: ipv4(0x0a050100),
  subnetMax: ipv4(0x0a05ff00),
};
const listOf = (own: RawLease, entries: LeaseEntry[], ends: [string, number][] = []) => {
  const list = new LeaseList({ ranges: { v4: CONFIG }, own, entries, ends: new Map(ends), now: NOW });
  const leases = [...list.leases()];
  return { leases, rest: list.rest() };
};

test('the list of leases has our own and why others are not used', () => {
  const own = raw('10.5.1.0-24', { kind: 'leased', leaseId: 1n });
  const { leases, rest } = listOf(
    own,
    [accepted(raw(NAME)), quarantined(raw('x', { kind: 'leased', leaseId: 2n }, '{'))],
    [[own.name, NOW + 7_000]],
  );
  assert.deepEqual(leases, [
    { ...FACTS, lease: own.name, subnet: '10.5.1.0/24', own: true, expiry: 'expires', remainingSeconds: 7 },
    { ...FACTS, own: false, expiry: 'reservation' },
    { lease: 'x', own: false, expiry: 'expires', quarantined: 'it clashes' },
  ]);
  assert.deepEqual(rest, { network: '10.5.0.0/16', subnetLength: 24, capacity: 255, used: 2 });
});

test('a subnet is used that a lease has whole or in part; what is outside of the range is not counted', () => {
  const used = (...names: string[]) =>
    listOf(
      raw('10.5.1.0-24'),
      names.map((name) => quarantined(raw(name))),
    ).rest.used;
  assert.equal(used('10.5.8.0-22'), 5);
  assert.equal(used('10.5.2.0-26', '10.5.2.64-26', '10.5.3.0-26'), 3);
  // The first subnet of the network is not given out.
  assert.equal(used('10.5.0.0-24', '10.6.0.0-24', 'x'), 1);
  assert.equal(used('10.5.0.0-22'), 4);
  assert.equal(used('10.5.0.0-16'), 255);
});
