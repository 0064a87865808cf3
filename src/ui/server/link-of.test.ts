import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Peer } from '#src/observe/api.ts';
import { leaseNameOf, linkOf } from '#src/ui/server/link-of.ts';

const at = '2026-01-01T12:00:00.000Z';
const peer: Peer = {
  lease: '10.0.2.0-24',
  subnet: '10.0.2.0/24',
  publicIp: '172.16.70.192',
  lastSeen: at,
  since: at,
  programmed: 'yes',
};
const where = { peer: '10.0.2.0-24', subnet: '10.0.2.0/24', publicIp: '172.16.70.192' };

test('a peer without a probe is not measured', () => {
  assert.deepEqual(linkOf(peer), { ...where, state: 'unmeasured' });
});

test('a peer that is not used says why, whatever its probe says', () => {
  assert.deepEqual(linkOf({ ...peer, programmed: 'quarantined', reason: 'its MAC is another peer’s' }), {
    ...where,
    state: 'unused',
    reason: 'in quarantine: its MAC is another peer’s',
  });
});

test('a probe gives state, loss, and a round trip of two digits', () => {
  const way = { sent: 8, answered: 6, roundTripMs: 0.41729, fullSize: 'lost' } as const;
  const probe = {
    at,
    state: 'degraded',
    findings: ['full-size packets are lost', 'TCP is silent'],
    tunnel: way,
    underlay: way,
    tcp: 'silent',
    workingMtu: 1400,
    responder: false,
  } as const;
  assert.deepEqual(linkOf({ ...peer, probe }), {
    ...where,
    state: 'degraded',
    roundTripMs: 0.42,
    lossPercent: 25,
    workingMtu: 1400,
    reason: 'full-size packets are lost; TCP is silent',
  });
});

test('the name of a lease is made of any address in its subnet', () => {
  assert.equal(leaseNameOf('10.0.65.1/24'), '10.0.65.0-24');
  assert.equal(leaseNameOf('10.255.255.255/20'), '10.255.240.0-20');
  assert.equal(leaseNameOf('1.2.3.4/0'), '0.0.0.0-0');
  for (const text of ['10.0.65.1', '10.0.65.1/33', 'fd00::/64', ''])
    assert.equal(leaseNameOf(text), undefined);
});
