import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KeyRotation, ownNumbers, type PlacedPlan, peerKeysOf } from '#src/backend/rotation-keys.ts';
import type { PeerPlan } from '#src/backend/rotation-peer.ts';
import { wireguard } from '#src/backend/wireguard-kind.ts';
import { type Ipv4, type Prefix4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { formatObject, type KernelObject } from '#src/state/object.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const pub = (letter: string): string => `${letter.repeat(42)}A=`;
const key = (letter: string) => ({
  publicKey: pub(letter),
  privateKey: Secret.copyOf(new Uint8Array(32).fill(7)),
});
const UNDERLAY = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip('192.0.2.1') },
  publicIp: { v4: ip('192.0.2.1') },
};
const OWN = { v4: net('10.5.1.0/24') };

const prepared = (keyRotation: KeyRotation | undefined, options = {}) =>
  wireguard.prepare({
    network: { v4: net('10.5.0.0/16') },
    options: new GoObject(options, 'Backend.'),
    identity: 'n',
    links: [],
    instance: '',
    secrets: { wireguardKey: key('o'), ...(keyRotation !== undefined && { keyRotation }) },
  });
const REST: KeyRotation = { side: 'a', takesPart: true, numbers: { current: 3 }, isEnding: false };
const MOVING: KeyRotation = {
  side: 'a',
  takesPart: true,
  nextKey: key('n'),
  numbers: { current: 3, next: 4 },
  isEnding: false,
};
const text = (objects: readonly KernelObject[]): string[] => objects.map(formatObject);

const peer = (weft: LeaseAttributes['weft']): Lease => ({
  name: '10.5.2.0-24',
  subnets: { v4: net('10.5.2.0/24') },
  attributes: {
    publicIp: ip('192.0.2.2'),
    backendType: 'wireguard',
    backendData: { PublicKey: pub('p'), Port: 51_820 },
    ...(weft !== undefined && { weft }),
  },
  expiry: { kind: 'reservation' },
  revision: 1n,
});
const ROTATING = peer({
  Wireguard: { Generation: 3, Next: { Generation: 4, PublicKey: pub('q'), Port: 51_830 } },
});

test('a node at rest says that it takes part, and one that does not rotate says nothing', () => {
  const published = (rotation: KeyRotation | undefined) => prepared(rotation).make(UNDERLAY).published;
  assert.deepEqual(published(REST).weft, { Wireguard: { Generation: 3 } });
  assert.equal(published(undefined).weft, undefined);
  assert.equal(published({ ...REST, side: 'b', takesPart: false }).weft, undefined);
  assert.deepEqual(prepared(undefined).devices, ['flannel-wg']);
  assert.deepEqual(prepared(REST).devices, ['flannel-wg', 'flannel-wg.b']);
});

test('while it rotates, both devices are there, and the lease announces the next key', () => {
  const made = prepared(MOVING).make(UNDERLAY);
  assert.deepEqual(text(made.ownObjects(OWN)), [
    'flannel-wg mtu 1420 type wireguard',
    `dev flannel-wg public-key ${pub('o')} listen-port 51820`,
    '10.5.1.0/32 dev flannel-wg',
    'flannel-wg.b mtu 1420 type wireguard',
    `dev flannel-wg.b public-key ${pub('n')} listen-port 51830`,
    '10.5.1.0/32 dev flannel-wg.b',
    'net/ipv4/conf/flannel-wg/rp_filter=2',
    'net/ipv4/conf/flannel-wg.b/rp_filter=2',
  ]);
  assert.equal(
    encodeAttributes(made.published),
    `{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"wireguard","BackendData":{"PublicKey":"${pub('o')}","Port":51820},"Weft":{"Wireguard":{"Generation":3,"Next":{"Generation":4,"PublicKey":"${pub('n')}","Port":51830}}}}`,
  );
});

test('at its end the lease names the next key as its own, and the first device is still there', () => {
  const made = prepared({ ...MOVING, isEnding: true }).make(UNDERLAY);
  assert.deepEqual(made.published, {
    backendType: 'wireguard',
    backendData: { PublicKey: pub('n'), Port: 51_830 },
    weft: { Wireguard: { Generation: 4 } },
  });
  assert.deepEqual(made.devices, ['flannel-wg', 'flannel-wg.b']);
});

test('after it the second device is the only one, and sides change with the next rotation', () => {
  const made = prepared({ side: 'b', takesPart: true, numbers: { current: 4 }, isEnding: false }).make(
    UNDERLAY,
  );
  assert.deepEqual(made.devices, ['flannel-wg.b']);
  assert.deepEqual(made.inbound.devices, ['flannel-wg.b', 'flannel-wg'], 'rules are there before a device');
  assert.deepEqual(made.inbound.toCome, ['flannel-wg'], 'and settings are not');
  assert.equal(prepared(MOVING).make(UNDERLAY).inbound.toCome, undefined);
  assert.equal(prepared(undefined).make(UNDERLAY).inbound.toCome, undefined);
  const next = prepared({ ...MOVING, side: 'b' }).make(UNDERLAY);
  assert.match(text(next.ownObjects(OWN))[4] ?? '', /^dev flannel-wg public-key n+A= listen-port 51820$/);
});

test('a peer has the tunnels of its plan, and one route', () => {
  const made = prepared(MOVING).make(UNDERLAY);
  const plan = (keys: PeerPlan) =>
    text(made.peerObjects(ROTATING, { routeForm: 'flannel', keys: { ...keys, side: 'a' } }));
  const [old, fresh] = [
    `${pub('p')} dev flannel-wg endpoint 192.0.2.2:51820 persistent-keepalive 1 allowed-ips 10.5.2.0/24`,
    `${pub('q')} dev flannel-wg.b endpoint 192.0.2.2:51830 persistent-keepalive 1 allowed-ips 10.5.2.0/24`,
  ];
  const tunnels = { current: 'current', next: 'next' } as const;
  assert.deepEqual(plan({ tunnels, awake: ['current', 'next'], route: 'current' }), [
    old,
    '10.5.2.0/24 dev flannel-wg scope link',
    fresh,
  ]);
  assert.deepEqual(plan({ tunnels, awake: ['next'], route: 'next' }), [
    old.replace(' persistent-keepalive 1', ''),
    fresh,
    '10.5.2.0/24 dev flannel-wg.b scope link',
  ]);
  const through = plan({ tunnels: { next: 'current' }, awake: [], route: 'next' });
  assert.deepEqual(through, [
    `${pub('p')} dev flannel-wg.b endpoint 192.0.2.2:51820 allowed-ips 10.5.2.0/24`,
    '10.5.2.0/24 dev flannel-wg.b scope link',
  ]);
});

test('a peer that is planned between the end of a rotation and the backend of after it keeps its device', () => {
  const [before, after] = [prepared(MOVING), prepared({ ...REST, side: 'b' })].map((it) => it.make(UNDERLAY));
  const planned = (made: typeof before, keys: PlacedPlan) =>
    text(made?.peerObjects(ROTATING, { routeForm: 'flannel', keys }) ?? []);
  const ended = { tunnels: { current: 'next' }, awake: ['current'], route: 'current', side: 'b' } as const;
  const wanted = [
    `${pub('q')} dev flannel-wg.b endpoint 192.0.2.2:51830 persistent-keepalive 1 allowed-ips 10.5.2.0/24`,
    '10.5.2.0/24 dev flannel-wg.b scope link',
  ];
  assert.deepEqual(planned(before, ended), wanted);
  assert.deepEqual(planned(after, ended), wanted);
  const ending = { tunnels: { next: 'next' }, awake: ['next'], route: 'next', side: 'a' } as const;
  assert.deepEqual(planned(before, ending), wanted);
  assert.deepEqual(planned(after, ending), wanted);
});

test('a key that two claim is found in the next keys as well', () => {
  const made = prepared(MOVING).make(UNDERLAY);
  assert.deepEqual(made.identityOf?.(ROTATING.attributes), [pub('p'), pub('q')]);
  const thief = peer({ Wireguard: { Generation: 1, Next: { Generation: 2, PublicKey: pub('o'), Port: 1 } } });
  assert.equal(made.judge(thief.attributes), 'its next WireGuard key is ours');
  assert.equal(
    made.judge({ ...thief.attributes, backendData: { PublicKey: pub('n'), Port: 1 }, weft: {} }),
    `its PublicKey ${pub('n')} is ours`,
  );
});

test('what a lease says of a peer’s keys', () => {
  assert.deepEqual(peerKeysOf(ROTATING.attributes), {
    current: pub('p'),
    next: pub('q'),
    numbers: { current: 3, next: 4 },
    takesPart: true,
  });
  assert.deepEqual(peerKeysOf(peer(undefined).attributes), {
    current: pub('p'),
    numbers: { current: 0 },
    takesPart: false,
  });
  const same = peer({ Wireguard: { Generation: 3, Next: { Generation: 4, PublicKey: pub('p'), Port: 1 } } });
  assert.equal(peerKeysOf(same.attributes).next, undefined);
});

test('after a start the node’s own lease has the numbers', () => {
  const lease = (own: string, weft: LeaseAttributes['weft']) => ({
    backendData: { PublicKey: pub(own), Port: 1 },
    ...(weft !== undefined && { weft }),
  });
  const announced = { Wireguard: { Generation: 3, Next: { Generation: 9, PublicKey: pub('n'), Port: 1 } } };
  assert.deepEqual(ownNumbers({}, undefined), { numbers: { current: 1 }, isEnding: false });
  assert.deepEqual(ownNumbers(lease('o', announced), pub('n')), {
    numbers: { current: 3, next: 9 },
    isEnding: false,
  });
  assert.deepEqual(ownNumbers(lease('o', announced), undefined), {
    numbers: { current: 3 },
    isEnding: false,
  });
  assert.deepEqual(ownNumbers(lease('o', announced), pub('x')), {
    numbers: { current: 3, next: 4 },
    isEnding: false,
  });
  assert.deepEqual(ownNumbers(lease('n', { Wireguard: { Generation: 9 } }), pub('n')), {
    numbers: { current: 8, next: 9 },
    isEnding: true,
  });
});

test('a port for the second device is needed', () => {
  assert.throws(() => prepared(REST, { ListenPort: 65_530 }), /Backend.ListenPort: 65530/);
  assert.equal(prepared(undefined, { ListenPort: 65_530 }).devices.length, 1);
});
