import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendPlace, BackendUnderlay } from '#src/backend/backend.ts';
import { udp } from '#src/backend/udp.ts';
import { type Ipv4, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Json, Lease } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { formatObject, type KernelObject, RTPROT_BOOT } from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;
const net4 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const V4 = { v4: net4('10.5.0.0/16') };
const OWN = { v4: net4('10.5.1.0/24') };
const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip4('192.0.2.1') },
  publicIp: { v4: ip4('198.51.100.1') },
};
const PEER: Lease = {
  name: '10.5.9.0-24',
  subnets: { v4: net4('10.5.9.0/24') },
  attributes: { publicIp: ip4('192.0.2.9'), backendType: '' },
  expiry: { kind: 'reservation' },
  revision: 1n,
};
const prepare = (options: { [name: string]: Json } = {}, network: BackendPlace['network'] = V4) =>
  udp.prepare({
    network,
    options: new GoObject(options, 'Backend.'),
    identity: 'n',
    links: [],
    instance: 'a',
  });
const backend = (options?: { [name: string]: Json }) => prepare(options).make(UNDERLAY);

test('a TUN device with the subnet’s first address, and one route for the whole network', () => {
  const made = backend();
  assert.deepEqual(made.ownObjects(OWN).map(formatObject), [
    'flannel0 mtu 1472 type tun',
    '10.5.1.0/32 dev flannel0',
    '10.5.0.0/16 dev flannel0',
  ]);
  assert.deepEqual(made.peerObjects(PEER, { routeForm: 'flannel' }), []);
  assert.deepEqual([made.mtu, made.inbound], [1472, { devices: ['flannel0'], underlay: false }]);
});

test('the lease has no BackendType, byte for byte as flannel writes it', () => {
  assert.equal(
    encodeAttributes({ publicIp: ip4('192.0.2.1'), ...backend().published }),
    '{"PublicIP":"192.0.2.1","PublicIPv6":null}',
  );
});

test('the tunnel is a job of the node’s, the way to each peer one that needs it', () => {
  const { jobs } = backend({ port: 9000 });
  const [tunnel] = jobs?.own(OWN) ?? [];
  assert.deepEqual(tunnel, {
    kind: 'udp-tunnel',
    key: 'the tunnel flannel9000',
    atEnd: 'stop',
    device: 'flannel9000',
    local: ip4('192.0.2.1'),
    port: 9000,
    subnet: OWN.v4,
  });
  assert.deepEqual(jobs?.peer(PEER, { routeForm: 'flannel' }), [
    {
      kind: 'udp-way',
      key: 'the way to 10.5.9.0/24',
      needs: tunnel?.key,
      atEnd: 'leave',
      device: 'flannel9000',
      subnet: net4('10.5.9.0/24'),
      to: ip4('192.0.2.9'),
    },
  ]);
});

test('a peer of another backend or without an address is refused', () => {
  const { attributes } = PEER;
  assert.equal(backend().judge(attributes), undefined);
  assert.equal(
    backend().judge({ ...attributes, backendType: 'vxlan' }),
    'its backend is "vxlan", ours is "udp"',
  );
  assert.equal(backend().judge({ backendType: '' }), 'it has no PublicIP');
});

test('a start says what it costs, and refuses what can’t be', () => {
  assert.match(
    prepare().check(UNDERLAY, { links: [] }).join(),
    /^the backend udp \(also that of a network config without Backend\)/,
  );
  assert.equal(
    prepare({}, { ...V4, v6: parsePrefix('fd05::/48') as Prefix6 }).check(UNDERLAY, { links: [] }).length,
    2,
  );
  assert.throws(() => prepare().check({ ...UNDERLAY, mtu: 95 }, { links: [] }), { code: 'backend' });
  assert.throws(() => prepare().check({ ...UNDERLAY, address: {} }, { links: [] }), { code: 'backend' });
  assert.throws(() => prepare({}, {}), { code: 'backend' });
  for (const Port of [0, 65_536, '8285']) assert.throws(() => prepare({ Port }), { code: 'config' });
});

test('what is on the device is ours, an operator’s route elsewhere is not', () => {
  const { scopes } = backend();
  const [, address, route] = backend().ownObjects(OWN);
  assert.ok(address !== undefined && route?.kind === 'route');
  const owned = (object: KernelObject) => isOwned(scopes, object);
  assert.deepEqual([owned(address), owned(route)], [true, true]);
  assert.equal(owned({ ...route, device: 'eth0' }), false);
  assert.equal(owned({ ...route, destination: net4('10.6.0.0/16') }), false);
  assert.equal(owned({ ...route, protocol: RTPROT_BOOT + 1 }), false);
});
