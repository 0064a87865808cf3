import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { BackendUnderlay, FoundState } from '#src/backend/backend.ts';
import { ipsec } from '#src/backend/ipsec.ts';
import { type Ipv4, type Prefix4, parseIpv4, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import { formatObject, type KernelObject, type XfrmPolicy } from '#src/state/object.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);

const KEY = 'k'.repeat(96);
const NETWORK = net('10.5.0.0/16');
const UNDERLAY: BackendUnderlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ip('192.0.2.1') },
  publicIp: { v4: ip('192.0.2.1') },
  subnets: { v4: net('10.5.1.0/24') },
};
const LEASE: Lease = {
  subnets: { v4: net('10.5.2.0/24') },
  attributes: { publicIp: ip('192.0.2.2'), backendType: 'ipsec' },
  expiry: { kind: 'reservation' },
  name: '10.5.2.0-24',
  revision: 1n,
};

const prepare = (
  options: Record<string, string | number | boolean> = {},
  network: object = { v4: NETWORK },
) =>
  ipsec.prepare({
    network,
    options: new GoObject({ PSK: KEY, ...options }, 'Backend.'),
    identity: 'n',
    links: [],
    instance: 'a1b2',
  });
const texts = (objects: readonly KernelObject[]) =>
  objects.map((object) => `${object.kind} ${formatObject(object)}`);

test('a peer has flannel’s three policies, a route for them, and flannel’s connection', () => {
  const backend = prepare().make(UNDERLAY);
  const objects = backend.peerObjects(LEASE, { routeForm: 'flannel' });
  assert.deepEqual(texts(objects), [
    'xfrm-policy src 10.5.1.0/24 dst 10.5.2.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel',
    'xfrm-policy src 10.5.2.0/24 dst 10.5.1.0/24 dir in tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 11 mode tunnel',
    'xfrm-policy src 10.5.2.0/24 dst 10.5.1.0/24 dir fwd tmpl src 192.0.2.2 dst 192.0.2.1 proto esp reqid 11 mode tunnel',
    'route 10.5.2.0/24 dev eth0 proto 87 scope link',
    'ike-connection 192.0.2.1-10.5.1.0/24-10.5.2.0/24-192.0.2.2',
  ]);
  const connection = objects.at(-1);
  assert.ok(connection?.kind === 'ike-connection');
  const { proposal, encapsulated, secret } = connection;
  assert.deepEqual([proposal, encapsulated], ['aes128gcm16-sha256-prfsha256-ecp256', false]);
  assert.equal(secret?.text(), KEY);
  assert.deepEqual(backend.published, { backendType: 'ipsec' });
});

test('nothing leaves the host for the network as it is, but what stays on the host', () => {
  assert.deepEqual(
    texts(
      prepare()
        .make(UNDERLAY)
        .ownObjects({ v4: net('10.5.1.0/24') }),
    ),
    [
      'xfrm-policy src 0.0.0.0/0 dst 10.5.1.0/24 dir out priority 1',
      'xfrm-policy src 0.0.0.0/0 dst 10.5.0.0/16 dir out action block priority 2',
    ],
  );
});

test('all of it is its own to remove, and what others made is not', () => {
  const backend = prepare().make(UNDERLAY);
  const own = [
    ...backend.ownObjects({ v4: net('10.5.1.0/24') }),
    ...backend.peerObjects(LEASE, { routeForm: 'flannel' }),
  ];
  const isOwned = (object: KernelObject) =>
    backend.scopes.some(({ kinds, owns }) => kinds.includes(object.kind) && owns(object));
  for (const object of own) assert.ok(isOwned(object), formatObject(object));
  const [out] = own.filter(
    (object): object is XfrmPolicy => object.kind === 'xfrm-policy' && object.tunnel !== undefined,
  );
  assert.ok(out?.tunnel);
  const foreign: XfrmPolicy[] = [
    { ...out, tunnel: { ...out.tunnel, requestId: 12 } },
    // As charon makes them.
    { ...out, priority: 371_327 },
    { ...out, destination: net('10.6.2.0/24') },
    { ...out, source: net('192.168.0.0/16') },
  ];
  for (const policy of foreign) assert.equal(isOwned(policy), false, formatObject(policy));
});

test('containers have the MTU of flannel’s, and UDP takes eight bytes more', () => {
  assert.equal(prepare().make(UNDERLAY).mtu, 1423);
  const backend = prepare({ UDPEncap: true, ESPProposal: 'aes256-sha256' }).make(UNDERLAY);
  assert.equal(backend.mtu, 1415);
  assert.deepEqual(backend.shared, { UDPEncap: true, ESPProposal: 'aes256-sha256' });
  const ends = backend.probing?.ownEnds('v4', { v4: net('10.5.1.0/24') });
  assert.deepEqual([ends?.mtu, ends?.carrier], [{ inside: 1415, outside: 1500 }, 'UDP ports 500 and 4500']);
});

const refusal = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    const { code, message, remedy } = error as { code: string; message: string; remedy: string };
    return `${code}: ${message}; ${remedy}`;
  }
  return assert.fail('it was not refused');
};

test('a key that is missing, short or no text is refused without being shown', () => {
  const short = refusal(() => prepare({ PSK: 'k'.repeat(95) }));
  assert.equal(
    short,
    'config: config error, password is too short (Backend.PSK has 95 bytes); "PSK" needs 96 bytes or more: openssl rand -hex 48',
  );
  // Bytes, as flannel counts.
  assert.doesNotThrow(() => prepare({ PSK: 'ä'.repeat(48) }));
  assert.match(
    refusal(() => prepare({ PSK: 1234567 })),
    /^config: Backend\.PSK must be a string; undefined$/,
  );
  const { settings } = prepare();
  assert.match(inspect(settings), /PSK: \(hidden\)/);
  assert.doesNotMatch(JSON.stringify(settings), /kkkk/);
});

test('a network with IPv6 and an address behind a NAT are refused with what to do', () => {
  const v6 = parsePrefix6('fd00::/48') ?? assert.fail();
  assert.match(
    refusal(() => prepare({}, { v4: NETWORK, v6 })),
    /^config: the backend ipsec carries IPv4 alone.*wireguard/,
  );
  const behind = { ...UNDERLAY, publicIp: { v4: ip('203.0.113.1') } };
  assert.match(
    refusal(() => prepare().check(behind, { links: [] })),
    /^backend: .*203\.0\.113\.1, not 192\.0\.2\.1/,
  );
  assert.deepEqual(prepare().check(UNDERLAY, { links: [] }), []);
});

test('a peer of another backend, or without an address, is named', () => {
  const backend = prepare().make(UNDERLAY);
  assert.equal(backend.judge(LEASE.attributes), undefined);
  assert.equal(backend.judge({ backendType: 'vxlan' }), 'its backend is "vxlan", ours is "ipsec"');
  assert.equal(backend.judge({ backendType: 'ipsec' }), 'it has no PublicIP');
});

test('charon is one program for all networks, and outlives flanneld', () => {
  const jobs = prepare().make(UNDERLAY).jobs;
  const [charon, ...others] = jobs?.own({}) ?? [];
  assert.deepEqual(others, []);
  assert.deepEqual(jobs?.peer(LEASE, { routeForm: 'flannel' }), []);
  assert.ok(charon?.kind === 'program');
  assert.deepEqual([charon.key, charon.atEnd, charon.isShared], ['charon', 'leave', true]);
  assert.ok(charon.programs.includes('/usr/lib/ipsec/charon'));
});

test('a clean-up removes connections before policies, of one network or of all', () => {
  const backend = prepare().make(UNDERLAY);
  const peer = backend.peerObjects(LEASE, { routeForm: 'flannel' });
  const found: FoundState = {
    links: [],
    addresses: [],
    routes: [],
    policies: [...peer, ...backend.ownObjects({ v4: net('10.5.1.0/24') })].filter(
      (it) => it.kind === 'xfrm-policy',
    ),
    connections: peer.filter((it) => it.kind === 'ike-connection'),
  };
  const kinds = (of: Parameters<typeof ipsec.leftovers>[1]) =>
    ipsec.leftovers(found, of).map(({ kind }) => kind);
  const all = ['ike-connection', ...Array(5).fill('xfrm-policy')];
  assert.deepEqual(kinds('all'), all);
  assert.deepEqual(kinds({ network: { v4: NETWORK } }), all);
  assert.deepEqual(kinds({ network: { v4: net('10.6.0.0/16') } }), []);
});
