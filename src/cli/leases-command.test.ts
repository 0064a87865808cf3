import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLeases } from '#src/cli/leases-command.ts';
import type { Leases, LeaseView } from '#src/observe/api.ts';

const PLAIN = { width: 100, hasColour: false };

const lease = (n: number, parts: Partial<LeaseView> = {}): LeaseView => ({
  lease: `10.5.${n}.0-24`,
  subnet: `10.5.${n}.0/24`,
  publicIp: `172.16.0.${n}`,
  backend: 'vxlan',
  own: false,
  expiry: 'expires',
  remainingSeconds: 86_000,
  ...parts,
});

const answer = (parts: Partial<Leases>): Leases => ({
  network: '10.5.0.0/16',
  subnetLength: 24,
  capacity: 255,
  used: 3,
  leases: [],
  ...parts,
});

test('leases by their address, with the own one marked and the reasons below', () => {
  const leases = [
    lease(100, { expiry: 'reservation', node: 'c0ffee00-1111-4222-8333-444455556666' }),
    { lease: 'hello', own: false, expiry: 'unknown', quarantined: 'its key is not a subnet' } as const,
    lease(20, { own: true }),
    lease(3, { quarantined: 'its PublicIP 172.16.0.3 is ours' }),
  ];
  assert.deepEqual(formatLeases(answer({ leases }), PLAIN), [
    'network 10.5.0.0/16: 3 of 255 subnets of /24 are leased (1%), 2 quarantined',
    'SUBNET         PUBLIC IP     BACKEND   LEASE  STATE        NODE',
    '10.5.3.0/24    172.16.0.3    vxlan    23h53m  quarantined  -',
    '10.5.20.0/24   172.16.0.20   vxlan    23h53m  own          -',
    '10.5.100.0/24  172.16.0.100  vxlan    no end  used         c0ffee00-1111-4222-8333-444455556666',
    'hello          -             -             -  quarantined  -',
    '  10.5.3.0/24: its PublicIP 172.16.0.3 is ours',
    '  hello: its key is not a subnet',
  ]);
});

test('a network that is nearly full, or full, says so', () => {
  const of = (used: number): string[] => formatLeases(answer({ capacity: 10, used }), PLAIN);
  assert.equal(of(7).length, 1);
  assert.deepEqual(of(8), [
    'network 10.5.0.0/16: 8 of 10 subnets of /24 are leased (80%)',
    'the network is nearly full: no more than 2 hosts can join it',
    '  release the leases of hosts that are gone with "weft release SUBNET", or use a larger Network',
  ]);
  assert.equal(of(10)[1], 'the network is full: no more than 0 hosts can join it');
});

test('lines fit the terminal', () => {
  const leases = [lease(1, { node: 'c0ffee00-1111-4222-8333-444455556666', subnet: '100.100.100.128/25' })];
  for (const width of [100, 80, 70])
    for (const line of formatLeases(answer({ leases }), { width, hasColour: false }).slice(1))
      assert.ok(line.length <= width, line);
});
