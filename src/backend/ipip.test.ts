import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendPlace, BackendUnderlay, PeerPath } from '#src/backend/backend.ts';
import { ipip } from '#src/backend/ipip-kind.ts';
import { type Ipv4, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import {
  formatObject,
  type KernelObject,
  keyOf,
  type Link,
  RTPROT_BOOT,
  RTPROT_WEFT,
} from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;
const net4 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const V4 = { v4: net4('10.5.0.0/16') };
const BOTH = { ...V4, v6: parsePrefix('fd05::/48') as Prefix6 };
const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip4('192.0.2.1') },
  publicIp: { v4: ip4('198.51.100.1') },
};
const PEER: Lease = {
  name: '10.5.9.0-24',
  subnets: { v4: net4('10.5.9.0/24') },
  attributes: { publicIp: ip4('192.0.2.9'), backendType: 'ipip' },
  expiry: { kind: 'reservation' },
  revision: 1n,
};
const prepare = (options = {}, network: BackendPlace['network'] = V4) =>
  ipip.prepare({
    network,
    options: new GoObject(options, 'Backend.'),
    identity: 'n',
    links: [],
    instance: 'a1b2',
  });
const backend = (options = {}) => prepare(options).make(UNDERLAY);
const text = (objects: readonly KernelObject[]): string[] => objects.map(formatObject);
const onLink: PeerPath = { lookup: { v4: { device: 'eth0' } }, routeForm: 'flannel' };
const behind: PeerPath = {
  lookup: { v4: { device: 'eth0', via: ip4('192.0.2.254') } },
  routeForm: 'flannel',
};

test('one device from the interface’s own address to anywhere, with the subnet’s first address', () => {
  const made = backend();
  assert.deepEqual(text(made.ownObjects({ v4: net4('10.5.1.0/24') })), [
    'flannel.ipip mtu 1480 type ipip local 192.0.2.1 ttl inherit nopmtudisc',
    '10.5.1.0/32 dev flannel.ipip',
  ]);
  assert.deepEqual([made.mtu, made.devices, made.needsLookup], [1480, ['flannel.ipip'], false]);
  assert.deepEqual(made.inbound, { devices: ['flannel.ipip'], underlay: false });
});

test('the lease carries the type and no data', () => {
  assert.deepEqual(backend().published, { backendType: 'ipip' });
});

test('a peer is an onlink route through its public address', () => {
  assert.deepEqual(text(backend().peerObjects(PEER, behind)), [
    '10.5.9.0/24 via 192.0.2.9 dev flannel.ipip onlink',
  ]);
  assert.deepEqual(text(backend().peerObjects(PEER, { ...behind, routeForm: 'linear' })), [
    '10.5.9.0/24 via 192.0.2.9 dev flannel.ipip metric 10 onlink',
  ]);
});

test('with DirectRouting a peer on a link gets a plain route, and one behind a gateway the tunnel', () => {
  const direct = backend({ directrouting: true });
  assert.equal(direct.needsLookup, true);
  assert.deepEqual(direct.inbound, { devices: ['flannel.ipip'], underlay: true });
  assert.deepEqual(text(direct.peerObjects(PEER, onLink)), ['10.5.9.0/24 via 192.0.2.9 dev eth0 proto 87']);
  for (const path of [behind, { routeForm: 'flannel' } as const])
    assert.deepEqual(text(direct.peerObjects(PEER, path)), [
      '10.5.9.0/24 via 192.0.2.9 dev flannel.ipip onlink',
    ]);
});

test('a peer of another backend, without an address or with ours is refused', () => {
  const judged = (attributes: Partial<Lease['attributes']>) =>
    backend().judge({ ...PEER.attributes, ...attributes });
  assert.equal(judged({}), undefined);
  assert.equal(judged({ backendType: 'vxlan' }), 'its backend is "vxlan", ours is "ipip"');
  assert.equal(backend().judge({ backendType: 'ipip' }), 'it has no PublicIP');
  assert.equal(judged({ publicIp: ip4('192.0.2.1') }), 'its PublicIP is our own tunnel’s end');
});

test('what is on the device is ours by its shape, an operator’s routes are not', () => {
  const { scopes } = backend();
  const [, address] = backend().ownObjects({ v4: net4('10.5.1.0/24') });
  const [route] = backend().peerObjects(PEER, behind);
  assert.ok(address !== undefined && route?.kind === 'route');
  const owned = (object: KernelObject) => isOwned(scopes, object);
  assert.equal(owned(address), true);
  assert.equal(owned(route), true);
  assert.equal(owned({ ...route, onlink: false }), false);
  assert.equal(owned({ ...route, destination: net4('10.6.0.0/24') }), false);
  assert.equal(owned({ ...route, device: 'eth0', onlink: false, protocol: RTPROT_WEFT }), true);
  assert.equal(owned({ ...route, device: 'eth0', onlink: true, protocol: RTPROT_BOOT }), false);
  assert.equal(owned({ kind: 'link', name: 'flannel.ipip' }), false);
});

const device = (name: string, set: Partial<Link> = {}): Link => ({
  kind: 'link',
  name,
  type: 'ipip',
  ...set,
});
const tunnel = (local: string) => ({ ipip: { local: ip4(local), ttl: 0, pathMtuDiscovery: false } });

test('a start looks for what is in the way', () => {
  const check = (...links: Link[]) => prepare().check(UNDERLAY, { links });
  assert.deepEqual(check(device('flannel.ipip', tunnel('192.0.2.1')), device('tunl0')), []);
  assert.deepEqual(check(device('other', tunnel('192.0.2.2'))), []);
  assert.throws(() => check(device('flannel.ipip', { type: 'gre' })), {
    code: 'foreign-device',
    message: 'the device flannel.ipip exists and is no ipip device (it is a gre one)',
  });
  assert.throws(() => check(device('other', tunnel('192.0.2.1'))), {
    code: 'device-clash',
    message:
      'the device flannel.ipip can not be made: the device other is an ipip tunnel from 192.0.2.1 to anywhere',
  });
  assert.throws(() => prepare().check({ ...UNDERLAY, mtu: 87 }, { links: [] }), { code: 'backend' });
  assert.throws(() => prepare().check({ ...UNDERLAY, address: {} }, { links: [] }), {
    message: 'the interface eth0 has no IPv4 address for the network',
  });
});

test('IPv6 is not carried: said of a network of both families, refused for one of IPv6 alone', () => {
  assert.deepEqual(prepare({}, BOTH).check(UNDERLAY, { links: [] }), [
    'the backend ipip carries IPv4 only: IPv6 reaches no other host',
  ]);
  assert.throws(() => prepare({}, { v6: BOTH.v6 }), { code: 'backend' });
  assert.throws(() => prepare({ DirectRouting: 'yes' }), {
    code: 'config',
    message: /Backend\.DirectRouting/,
  });
});

test('a refusal of the kernel is explained', () => {
  const link: KernelObject = { kind: 'link', name: 'flannel.ipip' };
  const explain = (errno: string, links: readonly Link[] = []) =>
    backend().explain?.(link, { errno, message: '' }, links);
  assert.match(explain('EOPNOTSUPP') ?? '', /modprobe ipip/);
  assert.match(explain('EEXIST', [device('other', tunnel('192.0.2.1'))]) ?? '', /the device other is/);
  assert.equal(explain('EEXIST'), undefined);
});

test('a clean-up takes the device of the network, and no tunnel of others', () => {
  const left = (address: string | undefined, of: Parameters<typeof ipip.leftovers>[1], type = 'ipip') =>
    ipip
      .leftovers(
        {
          links: [device('flannel.ipip', { type }), device('tunl0')],
          addresses:
            address === undefined ? [] : [{ kind: 'address', prefix: net4(address), device: 'flannel.ipip' }],
          routes: [],
        },
        of,
      )
      .map(keyOf);
  const ours = ['link flannel.ipip'];
  assert.deepEqual(left('10.5.1.0/32', { network: V4 }), ours);
  assert.deepEqual(left(undefined, { network: V4 }), ours);
  assert.deepEqual(left('10.6.1.0/32', { network: V4 }), []);
  assert.deepEqual(left('10.6.1.0/32', 'all'), ours);
  assert.deepEqual(left('10.5.1.0/32', 'all', 'vxlan'), []);
});
