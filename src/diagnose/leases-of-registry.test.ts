import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leasesOfRegistry } from '#src/diagnose/leases-of-registry.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';

const CONFIG = parseNetworkConfig(
  '{"Network": "10.5.0.0/16", "SubnetMin": "10.5.1.0", "SubnetMax": "10.5.10.0", "Backend": {"Type": "vxlan"}}',
);

const record = (name: string, fields: object, parts: Partial<RawLease> = {}): RawLease => ({
  name,
  value: JSON.stringify(fields),
  revision: 7n,
  created: 5n,
  expiry: { kind: 'leased', leaseId: 1n },
  ...parts,
});

const fieldsOf = (n: number, more = {}) => ({
  PublicIP: `172.16.0.${n}`,
  BackendType: 'vxlan',
  BackendData: { VtepMAC: `02:00:00:00:00:0${n}` },
  ...more,
});

const RECORDS = [
  record('10.5.1.0-24', fieldsOf(1, { Node: 'node-1' })),
  record('10.5.2.0-24', fieldsOf(2), { expiry: { kind: 'reservation' } }),
  record('10.5.3.0-24', fieldsOf(3, { BackendType: 'host-gw' })),
  record('10.5.4.0-24', fieldsOf(2, { PublicIP: '172.16.0.4' }), { created: 6n }),
  record('hello', fieldsOf(5)),
];

test('leases are judged as a host judges them, and the own one is found by the identity', () => {
  const ends = new Map([['10.5.1.0-24', 160_000]]);
  const found = leasesOfRegistry({
    config: CONFIG,
    records: RECORDS,
    identity: 'node-1',
    ends,
    now: 100_000,
  });
  const { network, subnetLength, capacity, used } = found;
  assert.deepEqual(
    { network, subnetLength, capacity, used },
    {
      network: '10.5.0.0/16',
      subnetLength: 24,
      capacity: 10,
      used: 4,
    },
  );
  assert.deepEqual(found.leases[0], {
    lease: '10.5.1.0-24',
    subnet: '10.5.1.0/24',
    publicIp: '172.16.0.1',
    backend: 'vxlan',
    node: 'node-1',
    own: true,
    expiry: 'expires',
    remainingSeconds: 60,
  });
  assert.equal(found.leases.find(({ lease }) => lease === '10.5.2.0-24')?.expiry, 'reservation');
  const reasons = Object.fromEntries(found.leases.map(({ lease, quarantined }) => [lease, quarantined]));
  assert.equal(reasons['10.5.2.0-24'], undefined);
  assert.equal(reasons['10.5.3.0-24'], 'its backend is "host-gw", ours is "vxlan"');
  assert.match(reasons['10.5.4.0-24'] ?? '', /10\.5\.2\.0-24/);
  assert.equal(reasons.hello, 'its key is not a subnet');
});

test('on a machine that is no node, no lease is the own one', () => {
  const found = leasesOfRegistry({ config: CONFIG, records: RECORDS, identity: '', ends: new Map(), now: 0 });
  assert.ok(found.leases.every(({ own }) => !own));
  assert.equal(found.leases[0]?.quarantined, undefined);
});
