import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VxlanBackend, type VxlanHost } from '#src/backend/vxlan.ts';
import { vxlan } from '#src/backend/vxlan-kind.ts';
import type { EncryptOptions, VxlanOptions } from '#src/backend/vxlan-options.ts';
import { type Ipv4, type Prefix4, parseIpv4, parseIpv6, parsePrefix4 } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { Secret } from '#src/lib/secret.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Json, Lease } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { formatObject, type KernelObject } from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const mac = (text: string) => parseMac(text) ?? assert.fail(text);
const keyOf = (letter: string): string => `${letter.repeat(42)}A=`;

const key = (letter: string) => ({
  publicKey: keyOf(letter),
  privateKey: Secret.copyOf(new Uint8Array(32).fill(7)),
});

const HOST: VxlanHost = {
  network: { v4: net('10.5.0.0/16') },
  underlay: {
    name: 'eth0',
    mtu: 1500,
    address: { v4: ip('192.0.2.1') },
    publicIp: { v4: ip('192.0.2.1') },
  },
  macs: { v4: mac('02:00:00:00:00:01') },
  tunnelKey: key('o'),
};
const OPTIONS: VxlanOptions = {
  vni: 7,
  port: 8472,
  gbp: false,
  directRouting: false,
  learning: false,
  mtu: undefined,
};
const REQUIRE: EncryptOptions = { policy: 'require', port: 51_820 };
const backend = (encrypt: EncryptOptions | undefined, options: Partial<VxlanOptions> = {}) =>
  new VxlanBackend({ ...OPTIONS, ...options, ...(encrypt !== undefined && { encrypt }) }, HOST);

const peer = (member: Json | undefined): Lease => ({
  name: '10.5.2.0-24',
  subnets: { v4: net('10.5.2.0/24') },
  attributes: {
    publicIp: ip('192.0.2.2'),
    backendType: 'vxlan',
    backendData: { VNI: 7, VtepMAC: '02:00:00:00:00:02' },
    ...(member !== undefined && { weft: { Wireguard: member } }),
  },
  expiry: { kind: 'reservation' },
  revision: 1n,
});
const ABLE = peer({ PublicKey: keyOf('p'), Port: 51_999 });
const PLAIN = peer(undefined);
const text = (objects: readonly KernelObject[]): string[] => objects.map(formatObject);

test('the tunnel’s device is made before what goes through it, and takes 80 bytes of the MTU', () => {
  const made = backend(REQUIRE);
  assert.deepEqual(text(made.ownObjects({ v4: net('10.5.1.0/24') })), [
    'weft-wg.7 mtu 1420 type wireguard',
    `dev weft-wg.7 public-key ${keyOf('o')} listen-port 51820`,
    '10.5.1.0/32 dev weft-wg.7',
    'net/ipv4/conf/weft-wg.7/rp_filter=2',
    'flannel.7 address 02:00:00:00:00:01 mtu 1370 type vxlan id 7 dev eth0 local 192.0.2.1 dstport 8472 nolearning',
    '10.5.1.0/32 dev flannel.7',
  ]);
  assert.equal(made.mtu, 1370);
  assert.deepEqual(made.devices, ['flannel.7', 'weft-wg.7']);
  assert.deepEqual(made.inbound.devices, ['flannel.7'], 'containers get nothing by the tunnel itself');
  assert.equal(backend(REQUIRE, { mtu: 1400 }).mtu, 1270);
});

test('a peer with a key is reached through the tunnel', () => {
  assert.deepEqual(text(backend(REQUIRE).peerObjects(ABLE, { routeForm: 'flannel' })), [
    `${keyOf('p')} dev weft-wg.7 endpoint 192.0.2.2:51999 allowed-ips 192.0.2.2/32`,
    '02:00:00:00:00:02 dev flannel.7 dst 192.0.2.2 via weft-wg.7 self permanent',
    '10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.7 nud permanent',
    '10.5.2.0/24 via 10.5.2.0 dev flannel.7 onlink',
  ]);
  assert.equal(backend(REQUIRE).protectionOf?.(ABLE), 'wireguard');
});

test('a peer without a key is left out under require, and plain under prefer', () => {
  assert.match(
    backend(REQUIRE).judge(PLAIN.attributes) ?? '',
    /announces no WireGuard key.*EncryptPolicy "require"/,
  );
  const prefer = backend({ ...REQUIRE, policy: 'prefer' });
  assert.equal(prefer.judge(PLAIN.attributes), undefined);
  assert.equal(prefer.protectionOf?.(PLAIN), 'none');
  assert.deepEqual(
    text(prefer.peerObjects(PLAIN, { routeForm: 'flannel' }))[0],
    '02:00:00:00:00:02 dev flannel.7 dst 192.0.2.2 self permanent',
  );
  // What can't be read is no key.
  for (const member of [{ PublicKey: 'x', Port: 1 }, { PublicKey: keyOf('A'), Port: 51_820 }, 'key'])
    assert.notEqual(backend(REQUIRE).judge(peer(member).attributes), undefined);
});

test('a peer with our own key is left out', () => {
  const thief = peer({ PublicKey: keyOf('o'), Port: 51_820 });
  for (const policy of ['require', 'prefer'] as const)
    assert.equal(backend({ ...REQUIRE, policy }).judge(thief.attributes), 'its WireGuard key is ours');
});

test('no two peers may have one key, and no options make plain packets of a missing one', () => {
  assert.deepEqual(backend(REQUIRE).identityOf(ABLE.attributes), [keyOf('p'), '02:00:00:00:00:02']);
  assert.equal(backend(undefined).identityOf(ABLE.attributes), '02:00:00:00:00:02');
  const { tunnelKey: _, ...without } = HOST;
  assert.throws(() => new VxlanBackend({ ...OPTIONS, encrypt: REQUIRE }, without), TypeError);
});

test('plain packets are kept out under require only', () => {
  assert.deepEqual(backend(REQUIRE).seal, { port: 8472, vni: 7, device: 'weft-wg.7', isClosed: true });
  assert.ok(!backend({ ...REQUIRE, policy: 'prefer' }).seal.isClosed);
  assert.ok(!backend(undefined).seal.isClosed);
});

test('the lease has the key beside flannel’s fields, and none of the private one', () => {
  const { published } = backend(REQUIRE);
  const value = encodeAttributes({ publicIp: ip('192.0.2.1'), ...published });
  assert.equal(
    value,
    `{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"02:00:00:00:00:01"},"Weft":{"Wireguard":{"PublicKey":"${keyOf('o')}","Port":51820}}}`,
  );
});

test('without Encrypt nothing differs from flannel', () => {
  const made = backend(undefined);
  assert.equal(made.mtu, 1450);
  assert.deepEqual(made.devices, ['flannel.7']);
  assert.equal(made.published.weft, undefined);
  assert.equal(made.protectionOf, undefined);
  assert.equal(
    text(made.peerObjects(ABLE, { routeForm: 'flannel' }))[0],
    '02:00:00:00:00:02 dev flannel.7 dst 192.0.2.2 self permanent',
  );
});

test('a peer of the tunnel that nobody wants is the network’s to remove', () => {
  const [around] = backend(REQUIRE).peerObjects(ABLE, { routeForm: 'flannel' });
  const [link] = backend(REQUIRE).ownObjects({ v4: net('10.5.1.0/24') });
  assert.ok(around !== undefined && link !== undefined);
  assert.ok(isOwned(backend(REQUIRE).scopes, around));
  assert.ok(!isOwned(backend(REQUIRE).scopes, link), 'the device stays');
});

const kindOf = (options: Record<string, Json>, secrets = { wireguardKey: key('o') }) =>
  vxlan.prepare({
    network: HOST.network,
    options: new GoObject({ VNI: 7, ...options }, 'Backend.'),
    identity: 'n',
    links: [],
    instance: '',
    secrets,
  });

test('the node is asked for its key only where packets are encrypted', () => {
  assert.deepEqual(vxlan.secrets?.(new GoObject({ Encrypt: 'wireguard' })), ['wireguard-key']);
  assert.deepEqual(vxlan.secrets?.(new GoObject({ VNI: 7 })), []);
  const made = kindOf({ Encrypt: 'wireguard' });
  assert.deepEqual(made.devices, ['flannel.7', 'weft-wg.7']);
  assert.deepEqual(
    made.requirements.map(({ module }) => module),
    ['vxlan', 'wireguard'],
  );
  assert.deepEqual([made.settings.Encrypt, made.settings.EncryptPolicy], ['wireguard', 'require']);
  assert.deepEqual(made.make(HOST.underlay).published.weft, {
    Wireguard: { PublicKey: keyOf('o'), Port: 51_820 },
  });
});

test('behind a NAT, and over another device of that name, it is refused', () => {
  const made = kindOf({ Encrypt: 'wireguard' });
  const behind = { ...HOST.underlay, publicIp: { v4: ip('198.51.100.9') } };
  assert.throws(() => made.check(behind, { links: [] }), /does not work behind a NAT/);
  assert.deepEqual(kindOf({}).check(behind, { links: [] }), []);
  const links = [{ kind: 'link', name: 'weft-wg.7', type: 'bridge' } as const];
  assert.throws(() => made.check(HOST.underlay, { links }), /weft-wg\.7 exists and is no WireGuard device/);
});

test('a clean-up takes the tunnel’s device along', () => {
  const found = {
    links: [{ kind: 'link', name: 'weft-wg.7', type: 'wireguard' } as const],
    addresses: [{ kind: 'address', prefix: net('10.5.1.0/32'), device: 'weft-wg.7' } as const],
    routes: [],
  };
  assert.deepEqual(vxlan.leftovers(found, { network: HOST.network }), [{ kind: 'link', name: 'weft-wg.7' }]);
  assert.deepEqual(vxlan.leftovers(found, { network: { v4: net('10.6.0.0/16') } }), []);
});

test('over an underlay of IPv6 nothing would be encrypted: it is refused, and no packet leaves', () => {
  const address = { v6: parseIpv6('fd77::1') ?? assert.fail() };
  const underlay = { name: 'eth0', mtu: 1500, address, publicIp: address };
  const options = new GoObject({ Encrypt: 'wireguard' }, 'Backend.');
  const place = { network: HOST.network, options, identity: 'n', links: [], instance: '' };
  assert.throws(() => vxlan.prepare(place).check(underlay, { links: [] }), {
    code: 'backend',
    message: /^"Encrypt": "wireguard" can't be used here: .* over IPv4 only, because over IPv6 Linux sends/,
  });
  const { v4 } = HOST.macs;
  const host = { ...HOST, underlay, macs: { ...(v4 !== undefined && { v4 }) } };
  const made = new VxlanBackend({ ...OPTIONS, encrypt: REQUIRE }, host);
  const publicIpv6 = parseIpv6('fd77::2') ?? assert.fail();
  assert.match(made.judge({ ...ABLE.attributes, publicIpv6 }) ?? '', /^the tunnel around VXLAN carries IPv4/);
});
