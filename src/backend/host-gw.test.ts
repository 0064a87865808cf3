import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendPlace, BackendUnderlay, PeerPath } from '#src/backend/backend.ts';
import { hostGw } from '#src/backend/host-gw.ts';
import { type Ipv4, type Ipv6, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import { formatObject, type KernelObject, RTPROT_BOOT, RTPROT_WEFT } from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;
const ip6 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv6;
const net4 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const net6 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix6;

const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 9000,
  address: { v4: ip4('192.0.2.1'), v6: ip6('2001:db8::1') },
  publicIp: { v4: ip4('192.0.2.1'), v6: ip6('2001:db8::1') },
};
const V4 = { v4: net4('10.5.0.0/16') };
const BOTH = { ...V4, v6: net6('fd05::/48') };
const PEER: Lease = {
  name: '10.5.9.0-24&fd05:0:0:9::-64',
  subnets: { v4: net4('10.5.9.0/24'), v6: net6('fd05:0:0:9::/64') },
  attributes: { publicIp: ip4('192.0.2.9'), publicIpv6: ip6('2001:db8::9'), backendType: 'host-gw' },
  expiry: { kind: 'reservation' },
  revision: 1n,
};
const ON_LINK: PeerPath = {
  lookup: { v4: { device: 'eth0' }, v6: { device: 'eth0' } },
  routeForm: 'flannel',
};

const prepare = (network: BackendPlace['network'] = V4) =>
  hostGw.prepare({ network, options: new GoObject({}), identity: 'n', links: [], instance: 'a1b2' });
const backend = (network?: BackendPlace['network']) => prepare(network).make(UNDERLAY);
const text = (objects: readonly KernelObject[]): string[] => objects.map(formatObject);

test('a host needs no device and no object of its own, and keeps the whole MTU', () => {
  const made = backend();
  assert.deepEqual(prepare().devices, []);
  assert.deepEqual(prepare().requirements, []);
  assert.equal(prepare().instance, 'a1b2');
  assert.deepEqual([made.devices, made.mtu, made.needsLookup], [[], 9000, true]);
  assert.deepEqual(made.ownObjects({ v4: net4('10.5.1.0/24') }), []);
  assert.deepEqual(made.inbound, { devices: [], underlay: true });
});

test('the lease carries the type and no data', () => {
  assert.deepEqual(backend().published, { backendType: 'host-gw' });
});

test('a peer is a route through its own address, for each family of the network', () => {
  assert.deepEqual(text(backend().peerObjects(PEER, ON_LINK)), [
    '10.5.9.0/24 via 192.0.2.9 dev eth0 proto 87',
  ]);
  assert.deepEqual(text(backend(BOTH).peerObjects(PEER, ON_LINK)), [
    '10.5.9.0/24 via 192.0.2.9 dev eth0 proto 87',
    'fd05:0:0:9::/64 via 2001:db8::9 dev eth0 proto 87',
  ]);
  assert.equal(backend(BOTH).unreachable?.(PEER, ON_LINK), undefined);
});

test('in the linear form the route has a metric', () => {
  assert.deepEqual(text(backend().peerObjects(PEER, { ...ON_LINK, routeForm: 'linear' })), [
    '10.5.9.0/24 via 192.0.2.9 dev eth0 proto 87 metric 10',
  ]);
});

test('a peer on a link of another interface is reached over that', () => {
  const path: PeerPath = { ...ON_LINK, lookup: { v4: { device: 'eth1' } } };
  assert.deepEqual(text(backend().peerObjects(PEER, path)), ['10.5.9.0/24 via 192.0.2.9 dev eth1 proto 87']);
});

const NO_WAY: readonly [name: string, lookup: NonNullable<PeerPath['lookup']>, reason: string][] = [
  [
    'behind a router',
    { v4: { device: 'eth0', via: ip4('192.0.2.254') } },
    'its address 192.0.2.9 has to be on a link of this host, but it is behind the gateway 192.0.2.254 on eth0',
  ],
  [
    'no route',
    {},
    'its address 192.0.2.9 has to be on a link of this host, but this host has no route to it',
  ],
  [
    'an address of this host',
    { v4: { device: 'lo' } },
    'its address 192.0.2.9 has to be on a link of this host, but it is an address of this host itself',
  ],
];
for (const [name, lookup, reason] of NO_WAY) {
  test(`not reached, and the reason is named: ${name}`, () => {
    const path: PeerPath = { lookup, routeForm: 'flannel' };
    assert.deepEqual(backend().peerObjects(PEER, path), []);
    assert.equal(backend().unreachable?.(PEER, path), reason);
  });
}

test('a peer that IPv6 does not reach keeps its IPv4 route', () => {
  const path: PeerPath = { lookup: { v4: { device: 'eth0' } }, routeForm: 'flannel' };
  assert.equal(backend(BOTH).peerObjects(PEER, path).length, 1);
  assert.match(backend(BOTH).unreachable?.(PEER, path) ?? '', /2001:db8::9 .* no route/);
});

test('a peer of another backend or without an address is refused', () => {
  const { attributes } = PEER;
  const without: Lease['attributes'] = { backendType: 'host-gw' };
  assert.equal(backend().judge(attributes), undefined);
  assert.equal(
    backend().judge({ ...attributes, backendType: 'vxlan' }),
    'its backend is "vxlan", ours is "host-gw"',
  );
  assert.equal(backend().judge(without), 'it has no PublicIP');
  assert.equal(backend({ v6: BOTH.v6 }).judge(without), 'it has no PublicIPv6');
  assert.equal(backend().identityOf?.(attributes), undefined);
});

test('a host behind a NAT is refused in flannel’s words', () => {
  const nat = { ...UNDERLAY, publicIp: { v4: ip4('198.51.100.7') } };
  assert.throws(() => prepare().check(nat, { links: [] }), {
    code: 'backend',
    message:
      "your PublicIP differs from interface IP, meaning that probably you're on a NAT, which is not supported by host-gw backend (198.51.100.7, not 192.0.2.1)",
  });
  assert.deepEqual(prepare().check(UNDERLAY, { links: [] }), []);
});

test('a restart knows its routes by their protocol, on any device, and no others', () => {
  const { scopes } = backend(BOTH);
  const [v4, v6] = backend(BOTH).peerObjects(PEER, ON_LINK);
  assert.ok(v4?.kind === 'route' && v6?.kind === 'route');
  assert.equal(isOwned(scopes, v4), true);
  assert.equal(isOwned(scopes, v6), true);
  assert.equal(isOwned(scopes, { ...v4, device: 'eth7' }), true);
  assert.equal(isOwned(scopes, { ...v4, protocol: RTPROT_BOOT }), false);
  assert.equal(isOwned(scopes, { ...v4, destination: net4('10.6.9.0/24') }), false);
  assert.equal(isOwned(scopes, { ...v4, type: 'blackhole', protocol: RTPROT_WEFT }), false);
  assert.equal(isOwned(scopes, { kind: 'link', name: 'eth0' }), false);
});
