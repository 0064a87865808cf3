import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackendUnderlay } from '#src/backend/backend.ts';
import { leftovers, secretsNeeded } from '#src/backend/catalogue.ts';
import type { WireguardBackend } from '#src/backend/wireguard.ts';
import { parseSecretKey, type WireguardKey } from '#src/backend/wireguard-key.ts';
import { wireguard } from '#src/backend/wireguard-kind.ts';
import { messageOf } from '#src/lib/errors.ts';
import { type Ipv4, type Ipv6, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Json, Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { type KernelObject, KINDS, type Link } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

const net4 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const net6 = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix6;
const ip4 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv4;
const ip6 = (text: string) => (parseIp(text) ?? assert.fail(text)) as Ipv6;
const keyText = (n: number) => Buffer.alloc(32, n).toString('base64');
const OWN: WireguardKey = { privateKey: parseSecretKey(keyText(9)) ?? assert.fail(), publicKey: keyText(1) };
const PEER = keyText(2);

const V4 = { v4: net4('10.5.0.0/16') };
const BOTH = { ...V4, v6: net6('fd00:10:5::/48') };
const SUBNETS = { v4: net4('10.5.1.0/24'), v6: net6('fd00:10:5:1::/64') };
const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip4('192.0.2.1'), v6: ip6('2001:db8::1') },
  publicIp: { v4: ip4('192.0.2.1'), v6: ip6('2001:db8::1') },
};

interface Case {
  readonly options?: Readonly<Record<string, Json>>;
  readonly network?: PerFamily<Prefix4, Prefix6>;
  readonly underlay?: BackendUnderlay;
  readonly links?: readonly Link[];
  readonly key?: WireguardKey | undefined;
}

const prepare = ({ options = {}, network = V4, links = [], key = OWN }: Case = {}) =>
  wireguard.prepare({
    network,
    options: new GoObject(options, 'Backend.'),
    identity: 'n',
    links,
    instance: 'a1',
    secrets: { wireguardKey: key },
  });
const make = (given: Case = {}) => prepare(given).make(given.underlay ?? UNDERLAY) as WireguardBackend;
const linesOf = (objects: readonly KernelObject[]) =>
  objects.map((object) => `${object.kind} ${KINDS.of(object).format(object)}`);

function lease(name: string, attributes: Partial<LeaseAttributes>): Lease {
  return {
    name,
    subnets: parseSubnetName(name) ?? assert.fail(name),
    attributes: { backendType: 'wireguard', publicIp: ip4('192.0.2.2'), ...attributes },
    expiry: { kind: 'reservation' },
    revision: 1n,
  };
}
const data = (publicKey: string, port?: number): Json => ({
  PublicKey: publicKey,
  ...(port !== undefined && { Port: port }),
});
const peerLines = (given: Case, of: Lease) => linesOf(make(given).peerObjects(of));

test('the lease’s value is byte for byte flannel’s', () => {
  const value = (given: Case, v6 = true) =>
    encodeAttributes({
      publicIp: ip4('192.0.2.1'),
      ...(v6 && { publicIpv6: ip6('2001:db8::1') }),
      ...make(given).published,
    });
  assert.equal(
    value({}, false),
    `{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"wireguard","BackendData":{"PublicKey":"${OWN.publicKey}","Port":51820}}`,
  );
  assert.equal(
    value({ network: BOTH }),
    `{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"wireguard","BackendData":{"PublicKey":"${OWN.publicKey}","Port":51820},"BackendV6Data":{"PublicKey":"${OWN.publicKey}","Port":51821}}`,
  );
  // flannel would publish 51821 here, on which its one device does not listen.
  assert.match(
    value({ network: BOTH, options: { Mode: 'auto' } }),
    /"BackendV6Data":\{"PublicKey":"[^"]+","Port":51820\}/,
  );
});

test('a network has a device for each family, or one for both', () => {
  assert.deepEqual(linesOf(make().ownObjects({ v4: SUBNETS.v4 })), [
    'link flannel-wg mtu 1420 type wireguard',
    `wireguard-device dev flannel-wg public-key ${OWN.publicKey} listen-port 51820`,
    'address 10.5.1.0/32 dev flannel-wg',
  ]);
  const separate = { network: BOTH, options: { ListenPort: 4000, ListenPortV6: 4001, MTU: 1400 } };
  assert.deepEqual(linesOf(make(separate).ownObjects(SUBNETS)), [
    'link flannel-wg mtu 1320 type wireguard',
    `wireguard-device dev flannel-wg public-key ${OWN.publicKey} listen-port 4000`,
    'address 10.5.1.0/32 dev flannel-wg',
    'link flannel-wg-v6 mtu 1320 type wireguard',
    `wireguard-device dev flannel-wg-v6 public-key ${OWN.publicKey} listen-port 4001`,
    'address fd00:10:5:1::/128 dev flannel-wg-v6',
  ]);
  for (const Mode of ['auto', 'ipv4', 'ipv6']) {
    const one = make({ network: BOTH, options: { Mode } });
    assert.deepEqual(one.devices, ['flannel-wg']);
    assert.deepEqual(linesOf(one.ownObjects(SUBNETS)).slice(2), [
      'address 10.5.1.0/32 dev flannel-wg',
      'address fd00:10:5:1::/128 dev flannel-wg',
    ]);
  }
});

test('the private key is in no text', () => {
  const [, device] = make().ownObjects({ v4: SUBNETS.v4 });
  assert.ok(device !== undefined);
  const text = `${commandOf({ verb: 'replace', object: device })} ${JSON.stringify(device)}`;
  assert.match(text, /private-key \(hidden\)/);
  assert.ok(!text.includes(keyText(9)));
});

test('the MTU is never more than the underlay’s, and flannel’s 80 bytes less', () => {
  assert.equal(make().mtu, 1420);
  assert.equal(make({ options: { MTU: 9000 } }).mtu, 1420);
  assert.deepEqual(prepare({ options: { MTU: 9000 } }).check(UNDERLAY, { links: [] }), [
    'Backend.MTU of the network config is 9000, but the interface eth0 has 1500: using that',
  ]);
});

const NAME = '10.5.2.0-24';
const NAME_BOTH = '10.5.2.0-24&fd00:10:5:2::-64';
const V6_PEER = { publicIpv6: ip6('2001:db8::2') };
const BOTH_DATA = { backendData: data(PEER, 4000), backendV6Data: data(PEER, 4001) };
const peerLine = (device: string, endpoint: string, allowed: string) =>
  `wireguard-peer ${PEER} dev ${device} endpoint ${endpoint} allowed-ips ${allowed}`;
const route = (subnet: string, device: string) => `route ${subnet} dev ${device} scope link`;
const ROUTES_ON_ONE = [route('10.5.2.0/24', 'flannel-wg'), route('fd00:10:5:2::/64', 'flannel-wg')];
const ALLOWED = '10.5.2.0/24,fd00:10:5:2::/64';
const PRIVATE_PEER = { publicIp: ip4('10.9.9.2'), publicIpv6: ip6('2001:db8::2') };

const PEERS: readonly (readonly [string, Case, Lease, readonly string[]])[] = [
  [
    'IPv4',
    {},
    lease(NAME, { backendData: data(PEER, 4000) }),
    [peerLine('flannel-wg', '192.0.2.2:4000', '10.5.2.0/24'), route('10.5.2.0/24', 'flannel-wg')],
  ],
  [
    'no port, as of an older flannel: ours',
    { options: { ListenPort: 777 } },
    lease(NAME, { backendData: data(PEER) }),
    [peerLine('flannel-wg', '192.0.2.2:777', '10.5.2.0/24'), route('10.5.2.0/24', 'flannel-wg')],
  ],
  [
    'both families apart',
    { network: BOTH },
    lease(NAME_BOTH, { ...V6_PEER, ...BOTH_DATA }),
    [
      peerLine('flannel-wg', '192.0.2.2:4000', '10.5.2.0/24'),
      route('10.5.2.0/24', 'flannel-wg'),
      peerLine('flannel-wg-v6', '[2001:db8::2]:4001', 'fd00:10:5:2::/64'),
      route('fd00:10:5:2::/64', 'flannel-wg-v6'),
    ],
  ],
  [
    'a peer in IPv4 alone in a network with both',
    { network: BOTH },
    lease(NAME, { backendData: data(PEER, 4000) }),
    [peerLine('flannel-wg', '192.0.2.2:4000', '10.5.2.0/24'), route('10.5.2.0/24', 'flannel-wg')],
  ],
  [
    'ipv4: one device, the port of the IPv4 part',
    { network: BOTH, options: { Mode: 'ipv4' } },
    lease(NAME_BOTH, { ...V6_PEER, ...BOTH_DATA }),
    [peerLine('flannel-wg', '192.0.2.2:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'ipv6: flannel’s port of the IPv6 part is a dead one',
    { network: BOTH, options: { Mode: 'ipv6' } },
    lease(NAME_BOTH, { ...V6_PEER, ...BOTH_DATA }),
    [peerLine('flannel-wg', '[2001:db8::2]:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'auto: the peer’s IPv4 address is public',
    { network: BOTH, options: { Mode: 'auto' } },
    lease(NAME_BOTH, { ...V6_PEER, ...BOTH_DATA }),
    [peerLine('flannel-wg', '192.0.2.2:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'auto: the peer’s IPv4 address is private, and both have public IPv6 addresses',
    { network: BOTH, options: { Mode: 'auto' } },
    lease(NAME_BOTH, { ...PRIVATE_PEER, ...BOTH_DATA }),
    [peerLine('flannel-wg', '[2001:db8::2]:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'auto: ours is no public IPv6 address',
    {
      network: BOTH,
      options: { Mode: 'auto' },
      underlay: { ...UNDERLAY, publicIp: { v4: ip4('10.9.9.1'), v6: ip6('fd77::1') } },
    },
    lease(NAME_BOTH, { ...PRIVATE_PEER, ...BOTH_DATA }),
    [peerLine('flannel-wg', '10.9.9.2:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'auto: the peer has no IPv6 address',
    { network: BOTH, options: { Mode: 'auto' } },
    lease(NAME_BOTH, BOTH_DATA),
    [peerLine('flannel-wg', '192.0.2.2:4000', ALLOWED), ...ROUTES_ON_ONE],
  ],
  [
    'IPv6 alone on one device: a weft publishes the port',
    { network: { v6: BOTH.v6 }, options: { Mode: 'ipv6' } },
    lease(NAME_BOTH, { ...V6_PEER, backendV6Data: data(PEER, 4001), node: 'n2' }),
    [peerLine('flannel-wg', '[2001:db8::2]:4001', 'fd00:10:5:2::/64'), ROUTES_ON_ONE[1] ?? ''],
  ],
  [
    'IPv4 through IPv6, where this host has no IPv4 address',
    { underlay: { ...UNDERLAY, address: { v6: ip6('2001:db8::1') }, publicIp: { v6: ip6('2001:db8::1') } } },
    lease(NAME, { ...V6_PEER, backendData: data(PEER, 4000) }),
    [peerLine('flannel-wg', '[2001:db8::2]:4000', '10.5.2.0/24'), route('10.5.2.0/24', 'flannel-wg')],
  ],
];

for (const [name, given, of, expected] of PEERS) {
  test(`a peer: ${name}`, () => {
    assert.equal(make(given).judge(of.attributes), undefined);
    assert.deepEqual(peerLines(given, of), expected);
  });
}

test('a peer has the preshared key and the keepalive of the config', () => {
  const options = { PSK: keyText(7), PersistentKeepaliveInterval: 25 };
  const [peer] = make({ options }).peerObjects(lease(NAME, { backendData: data(PEER) }));
  assert.ok(peer?.kind === 'wireguard-peer');
  assert.ok(peer.presharedKey?.equals(parseSecretKey(keyText(7)) ?? assert.fail()));
  assert.equal(peer.keepalive, 25);
  const { settings } = prepare({ options });
  assert.match(String(settings.PSK), /^\(hidden [0-9a-f]{8}\)$/);
  assert.notEqual(settings.PSK, prepare({ options: { PSK: keyText(8) } }).settings.PSK);
});

const JUDGED: readonly (readonly [string, Case, Partial<LeaseAttributes>, string])[] = [
  ['another backend', {}, { backendType: 'vxlan' }, 'its backend is "vxlan", ours is "wireguard"'],
  ['no data', {}, {}, 'it has no BackendData'],
  ['null', {}, { backendData: null }, 'it has no BackendData'],
  ['a list', {}, { backendData: [] }, 'it has no BackendData'],
  ['no key', {}, { backendData: { Port: 1 } }, 'its BackendData has no readable PublicKey'],
  [
    'a key that is no text',
    {},
    { backendData: { PublicKey: 5 } },
    'its BackendData has no readable PublicKey',
  ],
  ['bad base64', {}, { backendData: data('!'.repeat(44)) }, 'its BackendData has no readable PublicKey'],
  [
    '31 bytes',
    {},
    { backendData: data(Buffer.alloc(31, 3).toString('base64')) },
    'its BackendData has no readable PublicKey',
  ],
  [
    '33 bytes',
    {},
    { backendData: data(Buffer.alloc(33, 3).toString('base64')) },
    'its BackendData has no readable PublicKey',
  ],
  ['the zero key', {}, { backendData: data(keyText(0)) }, 'its BackendData has no readable PublicKey'],
  ['our key', {}, { backendData: data(OWN.publicKey) }, `its PublicKey ${OWN.publicKey} is ours`],
  [
    'our key with a line end',
    {},
    { backendData: data(`${OWN.publicKey}\n`) },
    `its PublicKey ${OWN.publicKey} is ours`,
  ],
  ['a port beyond 16 bits', {}, { backendData: data(PEER, 65_536) }, 'its BackendData has no readable Port'],
  ['a port below 0', {}, { backendData: data(PEER, -1) }, 'its BackendData has no readable Port'],
  [
    'a port that is a text',
    {},
    { backendData: { PublicKey: PEER, Port: '1' } },
    'its BackendData has no readable Port',
  ],
  [
    'our key in IPv6',
    { network: BOTH },
    { ...V6_PEER, backendData: data(PEER), backendV6Data: data(OWN.publicKey) },
    `its PublicKey ${OWN.publicKey} is ours`,
  ],
  [
    'a bad key in IPv6',
    { network: BOTH, options: { Mode: 'auto' } },
    { ...V6_PEER, backendData: data(PEER), backendV6Data: data('x') },
    'its BackendV6Data has no readable PublicKey',
  ],
  [
    'no address for the mode',
    { network: BOTH, options: { Mode: 'ipv6' } },
    { backendData: data(PEER) },
    'it has no address for "Mode": "ipv6"',
  ],
];

for (const [name, given, attributes, expected] of JUDGED) {
  test(`a lease that is refused: ${name}`, () => {
    const judged = { backendType: 'wireguard', publicIp: ip4('192.0.2.2'), ...attributes };
    assert.equal(make(given).judge(judged), expected);
  });
}

test('what of two leases is one key is seen in any spelling', () => {
  const backend = make({ network: BOTH });
  const identity = (attributes: Partial<LeaseAttributes>) =>
    backend.identityOf({ backendType: 'wireguard', ...attributes });
  assert.deepEqual(identity({ backendData: data(PEER) }), [PEER]);
  assert.deepEqual(identity({ backendData: { publickey: `${PEER.slice(0, 20)}\r\n${PEER.slice(20)}` } }), [
    PEER,
  ]);
  // The last two bits of the last digit mean nothing.
  assert.deepEqual(identity({ backendData: data(PEER.replace(/.=$/, 'J=')) }), [PEER]);
  assert.deepEqual(identity({ backendData: data(PEER), backendV6Data: data(keyText(3)) }), [
    PEER,
    keyText(3),
  ]);
  assert.deepEqual(identity({}), []);
});

test('a value that Go reads is read the same way', () => {
  const decoded = decodeAttributes(
    `{"PublicIP":"192.0.2.2","backendtype":"wireguard","BackendData":{"publickey":"${PEER}","PORT":4000}}`,
  );
  assert.ok(decoded.ok);
  assert.equal(make().judge(decoded.attributes), undefined);
});

const REFUSED: readonly (readonly [string, Readonly<Record<string, Json>>, RegExp])[] = [
  ['a mode', { Mode: 'Separate' }, /no valid Mode configured: .* \(Backend\.Mode: "Separate"\)$/],
  ['an empty mode', { Mode: '' }, /no valid Mode configured/],
  ['port 0', { ListenPort: 0 }, /Backend\.ListenPort must be between 1 and 65535/],
  ['a port that is a text', { ListenPort: '51820' }, /Backend\.ListenPort must be a whole number/],
  ['a small MTU', { MTU: 100 }, /an MTU below 148 leaves no packet room/],
  [
    'a keepalive',
    { PersistentKeepaliveInterval: '25s' },
    /PersistentKeepaliveInterval must be a whole number/,
  ],
];
for (const [name, options, expected] of REFUSED) {
  test(`options that are refused: ${name}`, () => assert.throws(() => prepare({ options }), expected));
}

test('a preshared key that is none is refused without its value', () => {
  for (const PSK of ['geheim', 5, ['geheim'], `${keyText(7)}geheim`]) {
    assert.throws(
      () => prepare({ options: { PSK } as Readonly<Record<string, Json>> }),
      (error: Error) => {
        assert.match(messageOf(error), /^could not parse psk: Backend.PSK must be 32 bytes in base64/);
        assert.doesNotMatch(messageOf(error), /geheim|Bwc/);
        return true;
      },
    );
  }
});

test('two devices can not listen on one port', () => {
  const options = { ListenPort: 5, ListenPortV6: 5 };
  assert.throws(() => prepare({ options, network: BOTH }), /can not listen on one port/);
  assert.equal(make({ options: { ...options, Mode: 'auto' }, network: BOTH }).devices.length, 1);
  assert.equal(make({ options }).devices.length, 1);
});

test('a start refuses what would do harm', () => {
  const check = (given: Case, underlay = UNDERLAY) =>
    prepare(given).check(underlay, { links: given.links ?? [] });
  const link = (type: string): Link => ({ kind: 'link', name: 'flannel-wg', type });
  assert.deepEqual(check({ links: [link('wireguard')] }), []);
  assert.throws(() => check({ links: [link('dummy')] }), /flannel-wg exists and is no WireGuard device/);
  assert.throws(() => check({}, { ...UNDERLAY, mtu: 140 }), /an MTU of 140, and WireGuard needs 148/);
  assert.throws(() => check({ network: BOTH }, { ...UNDERLAY, mtu: 1300 }), /WireGuard needs 1360/);
  const v4Only = { ...UNDERLAY, publicIp: { v4: ip4('192.0.2.1') } };
  assert.throws(() => check({ options: { Mode: 'ipv6' } }, v4Only), /no IPv6 address for "Mode": "ipv6"/);
});

test('everything on the device is the network’s but what is not in the network', () => {
  const [scope] = make().scopes;
  const device = 'flannel-wg';
  const owns = (object: KernelObject) => scope?.owns(object);
  const objects = make().peerObjects(lease(NAME, { backendData: data(PEER) }));
  assert.deepEqual(objects.map(owns), [true, true]);
  // flannel's own route, for the whole network.
  const [, own] = objects;
  assert.ok(own?.kind === 'route');
  assert.equal(owns({ ...own, destination: V4.v4 }), true);
  assert.equal(owns({ ...own, destination: net4('10.6.0.0/16') }), false);
  assert.equal(owns({ kind: 'address', prefix: net4('10.5.1.0/32'), device }), true);
  assert.equal(owns({ kind: 'address', prefix: net4('192.0.2.7/32'), device }), false);
  assert.equal(owns({ kind: 'link', name: device }), false);
});

test('the kernel’s refusals are explained', () => {
  const [link, device] = make().ownObjects({ v4: SUBNETS.v4 });
  const explain = (object: KernelObject | undefined, errno: string) =>
    object && make().explain(object, { errno, message: '' });
  assert.match(explain(link, 'EOPNOTSUPP') ?? '', /Linux from 5\.6 on/);
  assert.match(explain(device, 'EADDRINUSE') ?? '', /another program has UDP port 51820/);
  assert.equal(explain(link, 'EPERM'), undefined);
});

test('a clean-up takes the devices of a network', () => {
  const link = (name: string, type = 'wireguard'): Link => ({ kind: 'link', name, type });
  const found = {
    links: [link('flannel-wg'), link('flannel-wg-v6'), link('wg0'), link('flannel-wg.b', 'dummy')],
    addresses: [{ kind: 'address', prefix: net4('10.5.1.0/32'), device: 'flannel-wg' } as const],
    routes: [],
  };
  const names = (of: Parameters<typeof leftovers>[1]) =>
    leftovers(found, of).map((object) => (object.kind === 'link' ? object.name : ''));
  assert.deepEqual(names('all'), ['flannel-wg', 'flannel-wg-v6']);
  assert.deepEqual(names({ network: V4 }), ['flannel-wg', 'flannel-wg-v6']);
  assert.deepEqual(names({ network: { v4: net4('10.6.0.0/16') } }), ['flannel-wg-v6']);
});

test('one who only looks takes the key from the lease', () => {
  const prepared = wireguard.prepare({
    network: V4,
    options: new GoObject({}),
    identity: 'n',
    links: [],
    instance: 'a1',
  });
  const published = { backendType: 'wireguard', backendData: data(PEER, 51_820) };
  const [, device] = prepared.make(UNDERLAY, published).ownObjects({ v4: SUBNETS.v4 });
  assert.deepEqual(device, {
    kind: 'wireguard-device',
    device: 'flannel-wg',
    publicKey: PEER,
    listenPort: 51_820,
    fwmark: 0,
  });
  const backend = (type: string) => ({ backend: { type, options: new GoObject({}) } });
  assert.deepEqual(secretsNeeded(backend('wireguard')), ['wireguard-key']);
  assert.deepEqual(secretsNeeded(backend('vxlan')), []);
  assert.deepEqual(secretsNeeded(backend('nonsense')), []);
});
