import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  capturePoints,
  type OverlayPlaces,
  overlayPlaces,
  peerFilter,
} from '#src/diagnose/capture/overlay-places.ts';
import { readFilter } from '#src/diagnose/capture/read-filter.ts';
import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import { parseIpv4, parsePrefix, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { FoundSegments } from '#src/tenant/found-segments.ts';

const prefix6 = (text: string) => parsePrefix6(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix4(text) ?? assert.fail(text);
const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const NETWORK = {
  source: 'daemon',
  network: prefix('10.0.0.0/16'),
  subnet: prefix('10.0.65.0/24'),
  networks: { v4: prefix('10.0.0.0/16'), v6: prefix6('fd05::/48') },
  subnets: { v4: prefix('10.0.65.0/24'), v6: prefix6('fd05:0:0:65::/64') },
  mtu: 1450,
  instance: '7',
  requirements: [],
  settings: { VNI: 7, Port: 8472 },
  backend: { devices: ['flannel.7'] } as unknown as NonNullable<KnownNetwork['backend']>,
  underlay: {
    ...{ name: 'eth0', mtu: 1500, address: ip('192.0.2.1'), publicIp: ip('192.0.2.1') },
    ...{ addresses: { v4: ip('192.0.2.1') }, publicIps: { v4: ip('192.0.2.1') } },
  },
  peers: [
    {
      lease: '10.0.32.0-24',
      subnet: prefix('10.0.32.0/24'),
      subnets: { v4: prefix('10.0.32.0/24'), v6: prefix6('fd05:0:0:32::/64') },
      attributes: { backendType: 'vxlan', node: 'n2' },
      publicIp: ip('192.0.2.2'),
    },
  ],
} as const satisfies KnownNetwork;
const tenant = (name: string, vni: number, containers: string[]) => ({
  ...{ name, vni, containers, subnets: ['10.128.0.0/24'], cutOff: 0 },
});
const PLACES = overlayPlaces({
  known: [{ network: NETWORK }],
  tenants: [tenant('blue', 10_000, ['web']), tenant('idle', 10_001, [])],
  tenantPort: 8473,
  tenantNamespace: '/run/netns/weft',
});
const points = (places: OverlayPlaces, inner: boolean, ...devices: string[]) =>
  capturePoints(places, { devices, inner, snapLength: 99 }).map(({ device, namespace, vni, filter }) => [
    ...[device, namespace, vni],
    filter !== undefined,
  ]);

test('outer packets are on the underlay, inner ones on the overlay’s devices, of Docker’s networks in their namespace', () => {
  assert.deepEqual(PLACES.ports, [8472, 8473]);
  const own = ['flannel.7', undefined, 7, false];
  const tenants = ['vx-10000', '/run/netns/weft', 10_000, false];
  assert.deepEqual(points(PLACES, false), [['eth0', undefined, undefined, true], own]);
  assert.deepEqual(points(PLACES, true), [own, tenants]);
  assert.deepEqual(points(PLACES, false, 'vx-10000', 'eth1', 'any'), [
    tenants,
    ['eth1', undefined, undefined, false],
    [undefined, undefined, undefined, true],
  ]);
});

test('where one VXLAN device carries all of Docker’s networks, the ports say which one it is', () => {
  const link = (name: string) => ({ kind: 'link', name, master: 'br-all' }) as const;
  const vlan = (device: string, id: number) =>
    ({ kind: 'bridge-vlan', device, vlan: id, untagged: true }) as const;
  const objects = [
    ...[link('vx-all'), link('p1'), link('p2'), link('p3')],
    ...[vlan('p1', 1), vlan('p2', 1), vlan('p3', 2)],
    { ...vlan('vx-all', 1), untagged: false, vni: 10_000 },
  ];
  const shared = overlayPlaces({
    known: [],
    tenants: [tenant('blue', 10_000, ['web', 'db'])],
    tenantPort: 8473,
    tenantNamespace: '/run/netns/weft',
    segments: new FoundSegments(objects),
  });
  assert.deepEqual(points(shared, true), [
    ['p1', '/run/netns/weft', 10_000, false],
    ['p2', '/run/netns/weft', 10_000, false],
  ]);
});

test('where no network is known, every device is looked at', () => {
  const none = overlayPlaces({ known: [], tenants: [], tenantPort: 8473, tenantNamespace: '' });
  assert.deepEqual(points(none, false), [[undefined, undefined, undefined, true]]);
  assert.deepEqual(points(none, true), []);
});

test('a peer is found by lease, subnet, address and identity', () => {
  const both = { publicIp: ip('192.0.2.2'), subnet: prefix('10.0.32.0/24') };
  for (const text of ['10.0.32.0-24', '10.0.32.0/24', '192.0.2.2', 'n2'])
    assert.deepEqual(peerFilter(PLACES, text), both, text);
  assert.deepEqual(peerFilter(PLACES, '10.0.32.8/32'), { subnet: prefix('10.0.32.8/32') });
  assert.deepEqual(peerFilter(PLACES, '198.51.100.1'), { publicIp: ip('198.51.100.1') });
  assert.deepEqual(peerFilter(PLACES, '10.9.0.0/24'), { subnet: parsePrefix('10.9.0.0/24') });
  assert.equal(peerFilter(PLACES, 'nobody'), undefined);
});

test('a network of Docker’s is a filter by its name', () => {
  const read = (network: string) =>
    readFilter({ peer: [], vni: ['3'], network }, { places: PLACES, containers: [], onlyOverlay: true });
  assert.deepEqual(read('blue').vnis, [3, 10_000]);
  assert.throws(() => read('red'), { code: 'usage', message: 'no network red is known on this host' });
});
