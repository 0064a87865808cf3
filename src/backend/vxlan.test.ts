import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type PeerPath, routeMetric } from '#src/backend/backend.ts';
import { VxlanBackend, type VxlanHost, vtepMacOf } from '#src/backend/vxlan.ts';
import type { VxlanOptions } from '#src/backend/vxlan-options.ts';
import {
  type Ip,
  type Ipv4,
  ipv4,
  type Prefix,
  type Prefix4,
  parseIp,
  parseIpv4,
  parseIpv6,
  parsePrefix,
  parsePrefix4,
  parsePrefix6,
  prefix4,
} from '#src/lib/ip.ts';
import { type Mac, macFromBytes, parseMac } from '#src/lib/mac.ts';
import type { Json, Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import {
  formatObject,
  type KernelObject,
  keyOf,
  RT_SCOPE_UNIVERSE,
  RTPROT_BOOT,
  RTPROT_KERNEL,
  RTPROT_WEFT,
} from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const ip4 = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const net4 = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const net = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);

const OUR_MAC = mac('0e:00:00:00:00:01');
const PEER_MAC = mac('4e:75:5c:b8:d8:8e');
const NETWORK = net4('10.0.0.0/16');
const HOST: VxlanHost = {
  network: { v4: NETWORK },
  underlay: {
    name: 'eth0',
    mtu: 1500,
    address: { v4: ip4('172.16.70.191') },
    publicIp: { v4: ip4('172.16.70.191') },
  },
  macs: { v4: OUR_MAC },
};
const OPTIONS: VxlanOptions = {
  vni: 1,
  port: 8472,
  gbp: false,
  directRouting: false,
  learning: false,
  mtu: undefined,
};
const OWN: Subnets = { v4: net4('10.0.65.0/24') };

const backend = (options: Partial<VxlanOptions> = {}, host: Partial<VxlanHost> = {}): VxlanBackend =>
  new VxlanBackend({ ...OPTIONS, ...options }, { ...HOST, ...host });
const attributes = (given: Partial<LeaseAttributes> = {}): LeaseAttributes => ({
  publicIp: ip4('172.16.70.192'),
  backendType: 'vxlan',
  backendData: { VNI: 1, VtepMAC: PEER_MAC },
  ...given,
});
const PEER: Lease = {
  name: '10.0.32.0-24',
  subnets: { v4: net4('10.0.32.0/24') },
  attributes: attributes(),
  expiry: { kind: 'reservation' },
  revision: 1n,
};
const FLANNEL: PeerPath = { routeForm: 'flannel' };
const text = (objects: readonly KernelObject[]): string[] => objects.map(formatObject);

test('the node’s own device and address are what flannel makes', () => {
  assert.deepEqual(text(backend().ownObjects(OWN)), [
    'flannel.1 address 0e:00:00:00:00:01 mtu 1450 type vxlan id 1 dev eth0 local 172.16.70.191 dstport 8472 nolearning',
    '10.0.65.0/32 dev flannel.1',
  ]);
  const [link] = backend().ownObjects(OWN);
  assert.ok(link?.kind === 'link' && link.up);
});

test('every option reaches the device', () => {
  const made = backend(
    { vni: 9_999_999, port: 4789, gbp: true, learning: true, mtu: 9000 },
    { underlay: { ...HOST.underlay, mtu: 9000 } },
  );
  assert.deepEqual(text(made.ownObjects(OWN)), [
    'flannel.9999999 address 0e:00:00:00:00:01 mtu 8950 type vxlan id 9999999 dev eth0 local 172.16.70.191 dstport 4789 learning gbp',
    '10.0.65.0/32 dev flannel.9999999',
  ]);
  assert.deepEqual([made.devices, made.mtu], [['flannel.9999999'], 8950]);
});

test('a node without an IPv4 subnet needs nothing yet', () => {
  assert.deepEqual(backend().ownObjects({ v6: parsePrefix6('fd00::/64') ?? assert.fail() }), []);
});

test('the lease carries what a v0.9.1 and a HEAD peer read', () => {
  assert.equal(
    JSON.stringify(backend({ vni: 7 }).published),
    '{"backendType":"vxlan","backendData":{"VNI":7,"VtepMAC":"0e:00:00:00:00:01"}}',
  );
});

test('a peer is an fdb entry and a neighbour, then the route that uses them', () => {
  assert.deepEqual(text(backend().peerObjects(PEER, FLANNEL)), [
    '4e:75:5c:b8:d8:8e dev flannel.1 dst 172.16.70.192 self permanent',
    '10.0.32.0 lladdr 4e:75:5c:b8:d8:8e dev flannel.1 nud permanent',
    '10.0.32.0/24 via 10.0.32.0 dev flannel.1 onlink',
  ]);
});

const onLink = { lookup: { v4: { device: 'eth0' } } };
const behindGateway = { lookup: { v4: { device: 'eth0', via: ip('172.16.70.1') } } };
const TUNNELLED = '10.0.32.0/24 via 10.0.32.0 dev flannel.1 onlink';
/** The route alone: whether it goes through the tunnel. */
const WAYS: readonly [name: string, directRouting: boolean, path: object, route: string][] = [
  ['DirectRouting, no gateway', true, onLink, '10.0.32.0/24 via 172.16.70.192 dev eth0 proto 87'],
  ['DirectRouting, behind a gateway', true, behindGateway, TUNNELLED],
  ['DirectRouting, no route to the peer', true, {}, TUNNELLED],
  ['no DirectRouting, no gateway', false, onLink, TUNNELLED],
];

for (const [name, directRouting, path, route] of WAYS) {
  test(`the way to a peer: ${name}`, () => {
    const made = backend({ directRouting });
    assert.equal(made.needsLookup, directRouting);
    const objects = text(made.peerObjects(PEER, { ...path, ...FLANNEL }));
    assert.equal(objects.at(-1), route);
    assert.equal(objects.length, route === TUNNELLED ? 3 : 1);
  });
}

test('a linear route differs in its metric alone, directly routed or not', () => {
  const linear = (directRouting: boolean) =>
    text(backend({ directRouting }).peerObjects(PEER, { ...onLink, routeForm: 'linear' })).at(-1);
  assert.equal(linear(false), '10.0.32.0/24 via 10.0.32.0 dev flannel.1 metric 33 onlink');
  assert.equal(linear(true), '10.0.32.0/24 via 172.16.70.192 dev eth0 proto 87 metric 33');
});

const METRICS: readonly [network: string, subnet: string, metric: number][] = [
  ['10.0.0.0/16', '10.0.0.0/24', 1],
  ['10.0.0.0/16', '10.0.255.0/24', 256],
  ['0.0.0.0/1', '127.255.255.252/30', 2 ** 29],
  ['192.0.0.0/2', '255.255.255.0/24', 2 ** 22],
  ['fd00::/48', 'fd00::/64', 1],
  ['fd00::/48', 'fd00:0:0:ffff::/64', 65_536],
  ['fd00::/8', 'fdff:ffff:ffff:ffff::/64', Number((2n ** 56n - 1n) % 0x7fff_ffffn) + 1],
  ['10.0.0.0/16', 'fd00::/64', 0],
];

test('linear metrics count the subnets of a network from 1, and fit the kernel’s 32 bits', () => {
  for (const [network, subnet, metric] of METRICS) {
    assert.equal(routeMetric('linear', net(network), net(subnet)), metric, subnet);
    assert.equal(routeMetric('flannel', net(network), net(subnet)), 0, subnet);
  }
});

test('peers share no slot of the kernel, and all that they need is ours to remove', () => {
  const peer = fc
    .record({ number: fc.nat(255), publicIp: fc.nat(0xffffffff), mac: fc.nat(255), direct: fc.boolean() })
    .map(({ number, publicIp, mac: last, direct }) => {
      const lease: Lease = {
        ...PEER,
        name: `10.0.${number}.0-24`,
        subnets: { v4: prefix4(ipv4(NETWORK.address + number * 256), 24) },
        attributes: attributes({
          publicIp: ipv4(publicIp),
          backendData: { VtepMAC: macFromBytes(Uint8Array.of(2, 0, 0, 0, 1, last)) },
        }),
      };
      return { lease, path: direct ? onLink : behindGateway };
    });
  // What the lease table promises: no subnet and no MAC twice.
  const peers = fc.uniqueArray(peer, {
    comparator: (a, b) =>
      a.lease.name === b.lease.name ||
      vtepMacOf(a.lease.attributes.backendData) === vtepMacOf(b.lease.attributes.backendData),
  });
  const forms = fc.constantFrom<PeerPath['routeForm']>('flannel', 'linear');
  fc.assert(
    fc.property(peers, forms, (given, routeForm) => {
      const made = backend({ directRouting: true });
      const objects = given.flatMap(({ lease, path }) => made.peerObjects(lease, { ...path, routeForm }));
      assert.equal(new Set(objects.map(keyOf)).size, objects.length);
      assert.deepEqual(text(objects.filter((object) => !isOwned(made.scopes, object))), []);
      assert.ok(objects.length >= given.length);
    }),
  );
});

const JUDGED: readonly [name: string, given: Partial<LeaseAttributes>, fault: string | undefined][] = [
  ['HEAD’s', {}, undefined],
  ['v0.9.1’s, without a VNI', { backendData: { VtepMAC: PEER_MAC } }, undefined],
  ['another VNI, which flannel does not look at', { backendData: { VNI: 9, VtepMAC: PEER_MAC } }, undefined],
  ['another backend', { backendType: 'host-gw' }, 'its backend is "host-gw", ours is "vxlan"'],
  ['no backend: udp', { backendType: '' }, 'its backend is "", ours is "vxlan"'],
  ['a type in capitals', { backendType: 'VXLAN' }, 'its backend is "VXLAN", ours is "vxlan"'],
  ['no MAC', { backendData: {} }, 'its BackendData has no readable VtepMAC'],
  ['half a MAC', { backendData: { VtepMAC: '4e:75:5c' } }, 'its BackendData has no readable VtepMAC'],
  ['data of another shape', { backendData: [PEER_MAC] }, 'its BackendData has no readable VtepMAC'],
  [
    'broadcast',
    { backendData: { VtepMAC: 'ff:ff:ff:ff:ff:ff' } },
    'its VtepMAC ff:ff:ff:ff:ff:ff is not a unicast address',
  ],
  [
    'the zero MAC, the kernel’s default entry',
    { backendData: { VtepMAC: '00:00:00:00:00:00' } },
    'its VtepMAC 00:00:00:00:00:00 is not a unicast address',
  ],
  ['ours', { backendData: { VtepMAC: OUR_MAC.toUpperCase() } }, `its VtepMAC ${OUR_MAC} is ours`],
];

for (const [name, given, fault] of JUDGED) {
  test(`judged: ${name}`, () => assert.equal(backend().judge(attributes(given)), fault));
}

test('a peer without a public address or data is refused', () => {
  assert.equal(
    backend().judge({ backendType: 'vxlan', backendData: { VtepMAC: PEER_MAC } }),
    'it has no PublicIP',
  );
  assert.equal(
    backend().judge({ backendType: 'vxlan', publicIp: ip4('172.16.70.192') }),
    'its BackendData has no readable VtepMAC',
  );
});

test('every accepted lease has all its objects and an identity, and no lease throws', () => {
  const data = fc.oneof(
    fc.jsonValue().map((value): Json => JSON.parse(JSON.stringify(value))),
    fc.constantFrom<Json>({ VtepMAC: PEER_MAC }, { vtepmac: PEER_MAC }, { VtepMAC: OUR_MAC }, { VtepMAC: 7 }),
  );
  fc.assert(
    fc.property(data, fc.boolean(), (backendData, hasAddress) => {
      const { publicIp, ...rest } = attributes({ backendData });
      const given = hasAddress && publicIp !== undefined ? { ...rest, publicIp } : rest;
      const made = backend();
      const objects = made.peerObjects({ ...PEER, attributes: given }, FLANNEL);
      if (made.judge(given) === undefined) {
        assert.deepEqual([objects.length, made.identityOf(given)], [3, PEER_MAC]);
      } else {
        assert.ok(objects.length === 0 || made.identityOf(given) === OUR_MAC);
      }
    }),
  );
});

test('the VTEP MAC is read as Go reads it', () => {
  const read = (json: string) => vtepMacOf(JSON.parse(json));
  const other = '02:00:00:00:00:09';
  assert.equal(read(`{"VTEPmac":"${PEER_MAC.toUpperCase()}"}`), PEER_MAC);
  assert.equal(read(`{"vtepmac":"${other}","VtepMAC":"${PEER_MAC}"}`), PEER_MAC);
  // flannel refuses the lease: its MAC type reads null itself, and fails.
  assert.equal(read(`{"VtepMAC":"${PEER_MAC}","vtepmac":null}`), undefined);
  for (const json of ['null', '"x"', '[]', '{"VtepMAC":7}', `"${PEER_MAC}"`]) {
    assert.equal(read(json), undefined, json);
  }
  assert.equal(vtepMacOf(undefined), undefined);
});

const route = (
  destination: string,
  given: Partial<Extract<KernelObject, { kind: 'route' }>>,
): KernelObject => ({
  kind: 'route',
  destination: net(destination),
  type: 'unicast',
  onlink: false,
  metric: 0,
  protocol: RTPROT_BOOT,
  scope: RT_SCOPE_UNIVERSE,
  ...given,
});
const onFlannel = (destination: string, via: string, onlink = true) =>
  route(destination, { via: ip(via), device: 'flannel.1', onlink });
const device = 'flannel.1';
const destination = ip('172.16.70.192');

const OURS: readonly [name: string, object: KernelObject][] = [
  ['a flannel’s route', onFlannel('10.0.32.0/24', '10.0.32.0')],
  ['a route of the linear form', { ...onFlannel('10.0.32.0/24', '10.0.32.0'), metric: 33 } as KernelObject],
  [
    'a direct route of ours',
    route('10.0.32.0/24', { via: ip('172.16.70.192'), device: 'eth0', protocol: RTPROT_WEFT }),
  ],
  ['a neighbour', { kind: 'neighbour', ip: ip('10.0.32.0'), mac: PEER_MAC, device, permanent: true }],
  ['an fdb entry', { kind: 'fdb', mac: PEER_MAC, destination, device, permanent: true }],
  ['an address in the network', { kind: 'address', prefix: net('10.0.7.0/32'), device }],
];

const FOREIGN: readonly [name: string, object: KernelObject][] = [
  ['the device itself', { kind: 'link', name: device, type: 'vxlan' }],
  ['another device', { kind: 'link', name: 'eth0' }],
  ['Docker’s own route', route('10.0.65.0/24', { device: 'docker0', protocol: RTPROT_KERNEL })],
  ['a direct route of somebody else', route('10.0.32.0/24', { via: ip('172.16.70.192'), device: 'eth0' })],
  ['a route of another network of ours', route('10.1.32.0/24', { device: 'eth0', protocol: RTPROT_WEFT })],
  ['a blackhole', route('10.0.0.0/16', { type: 'blackhole', protocol: RTPROT_WEFT })],
  ['a hand-made route on the device', onFlannel('10.0.32.0/24', '10.0.33.0')],
  ['a route on the device that is not onlink', onFlannel('10.0.32.0/24', '10.0.32.0', false)],
  ['a route on the device to elsewhere', onFlannel('192.168.9.0/24', '192.168.9.0')],
  ['a route to more than the network', onFlannel('10.0.0.0/8', '10.0.0.0')],
  ['an IPv6 route', onFlannel('fd00::/64', 'fd00::')],
  [
    'another network’s flannel',
    route('10.0.32.0/24', { via: ip('10.0.32.0'), device: 'flannel.2', onlink: true }),
  ],
  ['a learnt neighbour', { kind: 'neighbour', ip: ip('10.0.32.0'), mac: PEER_MAC, device, permanent: false }],
  [
    'a neighbour elsewhere on the device',
    { kind: 'neighbour', ip: ip('192.168.9.1'), mac: PEER_MAC, device, permanent: true },
  ],
  ['an IPv6 neighbour', { kind: 'neighbour', ip: ip('fe80::1'), mac: PEER_MAC, device, permanent: true }],
  [
    'the underlay’s neighbour',
    { kind: 'neighbour', ip: ip('10.0.32.0'), mac: PEER_MAC, device: 'eth0', permanent: true },
  ],
  ['a learnt fdb entry', { kind: 'fdb', mac: PEER_MAC, destination, device, permanent: false }],
  [
    'another device’s fdb entry',
    { kind: 'fdb', mac: PEER_MAC, destination, device: 'flannel.2', permanent: true },
  ],
  ['the bridge’s address', { kind: 'address', prefix: net('10.0.65.1/24'), device: 'docker0' }],
  ['an address elsewhere on the device', { kind: 'address', prefix: net('192.168.9.1/24'), device }],
  ['the device’s link-local address', { kind: 'address', prefix: net('fe80::1/64'), device }],
];

for (const [name, object] of OURS) {
  test(`ours to remove: ${name}`, () => assert.equal(isOwned(backend().scopes, object), true));
}
for (const [name, object] of FOREIGN) {
  test(`not ours: ${name}`, () => assert.equal(isOwned(backend().scopes, object), false));
}

const SIX = {
  network: { v4: NETWORK, v6: parsePrefix6('fd05::/48') ?? assert.fail() },
  underlay: {
    ...HOST.underlay,
    address: { ...HOST.underlay.address, v6: parseIpv6('2001:db8::1') ?? assert.fail() },
  },
  macs: { v4: OUR_MAC, v6: mac('0e:00:00:00:00:06') },
};
const PEER_MAC6 = mac('4e:75:5c:b8:d8:06');
const SIX_PEER: Lease = {
  ...PEER,
  name: '10.0.32.0-24&fd05:0:0:20::-64',
  subnets: { ...PEER.subnets, v6: parsePrefix6('fd05:0:0:20::/64') ?? assert.fail() },
  attributes: attributes({
    publicIpv6: parseIpv6('2001:db8::9') ?? assert.fail(),
    backendV6Data: { VNI: 1, VtepMAC: PEER_MAC6 },
  }),
};

test('with an IPv6 network there is a second device, over IPv6', () => {
  const made = backend({}, SIX);
  assert.deepEqual([made.devices, made.mtu], [['flannel.1', 'flannel-v6.1'], 1430]);
  assert.deepEqual(text(made.ownObjects({ ...OWN, v6: parsePrefix6('fd05:0:0:41::/64') ?? assert.fail() })), [
    ...text(backend().ownObjects(OWN)),
    'flannel-v6.1 address 0e:00:00:00:00:06 mtu 1430 type vxlan id 1 dev eth0 local 2001:db8::1 dstport 8472 nolearning',
    'fd05:0:0:41::/128 dev flannel-v6.1',
    'net/ipv6/conf/flannel-v6.1/disable_ipv6=0',
  ]);
  assert.deepEqual(made.published.backendV6Data, { VNI: 1, VtepMAC: '0e:00:00:00:00:06' });
});

test('a peer of both families has the objects of each, all of them ours to remove', () => {
  const made = backend({}, SIX);
  const objects = made.peerObjects(SIX_PEER, FLANNEL);
  assert.deepEqual(text(objects), [
    ...text(backend().peerObjects(PEER, FLANNEL)),
    '4e:75:5c:b8:d8:06 dev flannel-v6.1 dst 2001:db8::9 self permanent',
    'fd05:0:0:20:: lladdr 4e:75:5c:b8:d8:06 dev flannel-v6.1 nud permanent',
    'fd05:0:0:20::/64 via fd05:0:0:20:: dev flannel-v6.1 onlink',
  ]);
  assert.deepEqual(text(objects.filter((object) => !isOwned(made.scopes, object))), []);
  assert.deepEqual(made.peerObjects(PEER, FLANNEL), backend().peerObjects(PEER, FLANNEL));
});

test('DirectRouting is decided for each family by itself', () => {
  const made = backend({ directRouting: true }, SIX);
  const lookup = { v4: behindGateway.lookup.v4, v6: { device: 'eth0' } };
  const objects = text(made.peerObjects(SIX_PEER, { lookup, routeForm: 'flannel' }));
  assert.equal(objects.length, 4);
  assert.equal(objects[2], TUNNELLED);
  assert.equal(objects[3], 'fd05:0:0:20::/64 via 2001:db8::9 dev eth0 proto 87');
});

test('a peer without an IPv6 address is a peer in IPv4; one with an address needs its data', () => {
  const made = backend({}, SIX);
  assert.equal(made.judge(attributes()), undefined);
  assert.equal(made.judge(SIX_PEER.attributes), undefined);
  assert.equal(
    made.judge({ ...SIX_PEER.attributes, backendV6Data: {} }),
    'its BackendV6Data has no readable VtepMAC',
  );
});

test('packets come in by the tunnel, and with DirectRouting by the underlay as well', () => {
  assert.deepEqual(backend({ port: 4789 }).shared, { VNI: 1, Port: 4789, GBP: false });
  assert.deepEqual(backend().inbound, { devices: ['flannel.1'], underlay: false });
  assert.deepEqual(backend({ directRouting: true }).inbound, { devices: ['flannel.1'], underlay: true });
});
