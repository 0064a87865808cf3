import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownInFamilyOf, peerWith } from '#src/diagnose/known-families.ts';
import { type KnownNetwork, knownNetworkOf } from '#src/diagnose/known-network.ts';
import {
  formatIp,
  formatPrefix,
  type Prefix4,
  parseIp,
  parseIpv4,
  parsePrefix,
  parsePrefix4,
} from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import type { Peer } from '#src/observe/api.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { formatObject } from '#src/state/object.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const CONFIG = '{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan","VNI":7}}';
const lease = (ip: string, mac: string): string =>
  `{"PublicIP":"${ip}","BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"${mac}"},"Node":"n1"}`;
const REMEMBERED = {
  at: 1_000,
  config: CONFIG,
  instance: '',
  own: { name: '10.0.65.0-24', value: lease('192.0.2.1', '4e:00:00:00:00:01') },
  peers: [
    { name: '10.0.32.0-24', value: lease('192.0.2.2', '4e:00:00:00:00:02') },
    { name: 'unreadable', value: '{}' },
  ],
};
const FOUND = {
  links: [{ kind: 'link', name: 'eth0', mtu: 1500 }] as const,
  addresses: [{ kind: 'address', prefix: prefix('192.0.2.1/24'), device: 'eth0' }] as const,
};
const SUBNET_FILE = 'FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET=10.0.65.1/24\nFLANNEL_MTU=1450\n';
const STATUS: NodeStatus['network'] = {
  network: '10.0.0.0/16',
  subnet: '10.0.65.0/24',
  backend: 'vxlan',
  underlay: 'eth0 (192.0.2.1)',
  publicIp: '203.0.113.9',
  mtu: 1450,
  routes: 'flannel',
};
const ask = (traces: Partial<Parameters<typeof knownNetworkOf>[0]>): KnownNetwork | undefined =>
  knownNetworkOf({ remembered: undefined, subnetFile: undefined, status: undefined, ...traces }, FOUND);

test('with the daemon down, the state file says all that the kernel should have', () => {
  const known = ask({ remembered: REMEMBERED, subnetFile: SUBNET_FILE }) ?? assert.fail();
  assert.equal(known.source, 'state-file');
  assert.deepEqual([formatPrefix(known.subnet), known.mtu, known.settings.VNI], ['10.0.65.0/24', 1450, 7]);
  assert.deepEqual(
    known.peers.map(({ lease }) => lease),
    ['10.0.32.0-24'],
  );
  const own = known.backend?.ownObjects(known.subnets).map(formatObject);
  assert.match(own?.[0] ?? '', /^flannel\.7 address 4e:00:00:00:00:01 mtu 1450 type vxlan id 7 dev eth0/);
});

test('a daemon that answers counts more than its file', () => {
  const known = ask({ remembered: REMEMBERED, status: STATUS }) ?? assert.fail();
  assert.equal(known.source, 'daemon');
  // Behind a NAT no device has the public IP.
  assert.deepEqual(known.underlay, {
    name: 'eth0',
    mtu: 1500,
    address: parseIpv4('192.0.2.1'),
    publicIp: parseIpv4('203.0.113.9'),
    addresses: { v4: parseIpv4('192.0.2.1') },
    publicIps: { v4: parseIpv4('203.0.113.9') },
  });
});

test('of subnet.env alone three values are known, and of nothing nothing', () => {
  const known = ask({ subnetFile: SUBNET_FILE }) ?? assert.fail();
  assert.deepEqual(
    [known.source, known.mtu, known.backend, known.peers],
    ['subnet-file', 1450, undefined, []],
  );
  assert.equal(ask({}), undefined);
});

test('a config that this version does not know is no failure', () => {
  const known = ask({
    remembered: { ...REMEMBERED, config: '{"Network":"10.0.0.0/16","Backend":{"Type":"gce"}}' },
  });
  assert.deepEqual([known?.source, known?.backend], ['state-file', undefined]);
});

const BOTH =
  '{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';
const bothLease = (n: number): string =>
  `{"PublicIP":"192.0.2.${n}","PublicIPv6":"2001:db8::${n}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"4e:00:00:00:00:0${n}"},"BackendV6Data":{"VNI":1,"VtepMAC":"4e:00:00:00:06:0${n}"}}`;
const DUAL = {
  ...REMEMBERED,
  config: BOTH,
  own: { name: '10.0.65.0-24&fd00:10:0:65::-64', value: bothLease(1) },
  peers: [{ name: '10.0.32.0-24&fd00:10:0:32::-64', value: bothLease(2) }],
};
const DUAL_FOUND = {
  ...FOUND,
  addresses: [
    ...FOUND.addresses,
    { kind: 'address', prefix: parsePrefix('2001:db8::1/64') ?? assert.fail(), device: 'eth0' },
  ] as const,
};
const ip = (text: string) => parseIp(text) ?? assert.fail(text);

test('of a network of both families everything is known in each', () => {
  const traces = { remembered: DUAL, subnetFile: undefined, status: undefined };
  const known = knownNetworkOf(traces, DUAL_FOUND) ?? assert.fail();
  assert.deepEqual(valuesOf(known.subnets).map(formatPrefix), ['10.0.65.0/24', 'fd00:10:0:65::/64']);
  assert.deepEqual(valuesOf(known.underlay?.addresses ?? {}).map(formatIp), ['192.0.2.1', '2001:db8::1']);
  const own = known.backend?.ownObjects(known.subnets).map(formatObject).join('\n') ?? '';
  assert.match(own, /^flannel-v6\.1 address 4e:00:00:00:06:01 .* local 2001:db8::1 /m);
  // As packets of each family see it.
  const seen = knownInFamilyOf(known, ip('fd00:10:0:32::2')) ?? assert.fail();
  assert.deepEqual([seen.network, seen.subnet, ...seen.peers.map(({ subnet }) => subnet)].map(formatPrefix), [
    'fd00:10::/48',
    'fd00:10:0:65::/64',
    'fd00:10:0:32::/64',
  ]);
  assert.deepEqual(seen.peers[0]?.publicIp, ip('2001:db8::2'));
  assert.equal(seen.underlay?.address, ip('2001:db8::1'));
  assert.equal(peerWith(known, ip('fd00:10:0:32::2'))?.lease, DUAL.peers[0]?.name);
  const single = ask({ remembered: REMEMBERED }) ?? assert.fail();
  assert.equal(knownInFamilyOf(single, ip('fd00::1')), undefined);
});

test('a daemon says one family of its peers, and what is written down adds the other', () => {
  const peer: Peer = {
    ...{ lease: DUAL.peers[0]?.name ?? '', publicIp: '192.0.2.2', backend: 'vxlan', lastSeen: '', since: '' },
    programmed: 'yes',
    vtep: { address: '10.0.32.0', mac: '4e:00:00:00:00:02' },
  };
  const traces = { remembered: DUAL, subnetFile: undefined, status: undefined, peers: [peer] };
  const [said] = knownNetworkOf(traces, DUAL_FOUND)?.peers ?? [];
  assert.deepEqual(said?.attributes.publicIpv6, ip('2001:db8::2'));
  assert.deepEqual(said?.attributes.backendV6Data, { VNI: 1, VtepMAC: '4e:00:00:00:06:02' });
});

test('a network of IPv6 alone is known by its subnet.env', () => {
  const known = ask({
    subnetFile: 'FLANNEL_IPV6_NETWORK=fd00:10::/48\nFLANNEL_IPV6_SUBNET=fd00:10:0:7::1/64\n',
  });
  assert.equal(known && formatPrefix(known.subnet), 'fd00:10:0:7::/64');
});
