import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FoundState, NetworkTrace } from '#src/backend/backend.ts';
import { BACKENDS, leftovers, prepareBackend } from '#src/backend/catalogue.ts';
import { ipv4, type Prefix4, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import { type Address, type Link, type Route, RTPROT_BOOT, RTPROT_WEFT } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

const net = (text: string) => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const HOST = { links: [], identity: 'n', instance: 'a1b2' };
const config = (type: string, options = {}) => ({
  ranges: {
    v4: {
      network: net('10.5.0.0/16'),
      subnetLength: 24,
      subnetMin: ipv4(0x0a050100),
      subnetMax: ipv4(0x0a05ff00),
    },
  },
  backend: { type, options: new GoObject(options, 'Backend.') },
});

test('every backend is found by its type and says so itself', () => {
  const types = BACKENDS.map(({ type }) => type);
  assert.deepEqual(types, ['vxlan', 'host-gw', 'ipip', 'wireguard', 'ipsec', 'extension', 'udp', 'alloc']);
  const options = { PSK: 'k'.repeat(96) };
  for (const type of types)
    assert.equal(prepareBackend(config(type, type === 'ipsec' ? options : {}), HOST).type, type);
});

test('networks of one host differ by the VNI, or by the name that they were given', () => {
  assert.equal(prepareBackend(config('vxlan', { VNI: 7 }), HOST).instance, '7');
  assert.equal(prepareBackend(config('host-gw'), HOST).instance, 'a1b2');
  assert.equal(prepareBackend(config('alloc'), HOST).instance, 'a1b2');
});

test('an unknown type is refused with those there are', () => {
  const refused = (type: string) => {
    try {
      prepareBackend(config(type), HOST);
    } catch (error) {
      const { code, message, remedy } = error as { code: string; message: string; remedy: string };
      return [code, message, remedy];
    }
    return assert.fail(type);
  };
  const remedy =
    'set "Backend": {"Type": "vxlan"} in the network config; there are vxlan, host-gw, ipip, wireguard, ipsec, extension, udp, alloc';
  assert.deepEqual(refused('vxlam'), [
    'backend',
    'Error fetching backend: unknown backend type: vxlam',
    remedy,
  ]);
  for (const type of ['gce', 'aws-vpc', 'ali-vpc', 'tencent-vpc'])
    assert.match(
      refused(type)[1] ?? '',
      new RegExp(`unknown backend type: ${type} \\(it sets routes through a cloud provider’s API`),
    );
});

const device = (name: string, type = 'vxlan'): Link => ({ kind: 'link', name, type });
const address = (text: string, on: string): Address => ({ kind: 'address', prefix: net(text), device: on });
const route = (destination: string, protocol: number): Route => ({
  kind: 'route',
  destination: net(destination),
  type: 'unicast',
  via: parseIp('192.0.2.9') ?? assert.fail(),
  device: 'eth0',
  onlink: false,
  metric: 0,
  protocol,
  scope: 0,
});

/** Two networks, 10.5.0.0/16 with VNI 1 and 10.6.0.0/16 with VNI 2, a device without a trace, and what is not ours. */
const FOUND: FoundState = {
  links: [
    device('eth0', 'veth'),
    device('flannel.1'),
    device('flannel.2'),
    device('flannel.3'),
    device('flannel.x'),
    device('flannel.4', 'bridge'),
    device('vxlan0'),
  ],
  addresses: [
    address('192.0.2.1/24', 'eth0'),
    address('10.5.1.0/32', 'flannel.1'),
    address('10.6.1.0/32', 'flannel.2'),
    address('10.5.1.0/32', 'vxlan0'),
  ],
  routes: [
    route('10.5.9.0/24', RTPROT_WEFT),
    route('10.6.9.0/24', RTPROT_WEFT),
    route('10.5.8.0/24', RTPROT_BOOT),
  ],
};
const removed = (of: NetworkTrace | 'all') =>
  leftovers(FOUND, of).map((object) => commandOf({ verb: 'remove', object }));
const routeOf = (destination: string) => `ip route del ${destination} via 192.0.2.9 dev eth0 proto 87`;

test('a clean-up of one network leaves the devices and routes of others', () => {
  const five = { network: { v4: net('10.5.0.0/16') } };
  const six = { network: { v4: net('10.6.0.0/16') }, options: new GoObject({ VNI: 2 }) };
  assert.deepEqual(removed(five), [routeOf('10.5.9.0/24'), 'ip link del flannel.1']);
  assert.deepEqual(removed(six), [routeOf('10.6.9.0/24'), 'ip link del flannel.2']);
  assert.deepEqual(removed({ network: { v4: net('10.7.0.0/16') } }), []);
});

test('a device that the options name goes without an address, but not with another network’s', () => {
  const network = { v4: net('10.7.0.0/16') };
  assert.deepEqual(removed({ network, options: new GoObject({ VNI: 3 }) }), ['ip link del flannel.3']);
  assert.deepEqual(removed({ network, options: new GoObject({ VNI: 2 }) }), []);
  assert.deepEqual(removed({ network, options: new GoObject({ VNI: 'x' }) }), []);
});

test('a clean-up of all networks takes what any backend made, and nothing else', () => {
  assert.deepEqual(removed('all'), [
    routeOf('10.5.9.0/24'),
    routeOf('10.6.9.0/24'),
    'ip link del flannel.1',
    'ip link del flannel.2',
    'ip link del flannel.3',
  ]);
});

/**
 * Rooms that know what a vxlan device is because it is their trade: how the kernel names it, what a packet on the wire
 * looks like, what other programs did to a device. Every other room asks its backend.
 */
const KNOWING = ['backend', 'state', 'kernel', 'lab', 'tenant', 'driver', 'diagnose', 'fast-path'];
/** Tenants are VXLAN, and no backend makes them. */
const OF_TENANTS = /\/(tenant|tunnel|driver)-[^/]*$/;
/** Loads and tests a program that writes and reads VXLAN. */
const OF_FAST_PATH = /^reconcile\/fast-path\//;
/** Words for people, each an example of a flag's or a key's value; and the comparison of links, which goes to state/. */
const EXAMPLES: readonly [file: string, words: RegExp][] = [
  // What a packet on the wire looks like, to an nft rule.
  ['firewall/sealed-port.ts', /\bvni\b|VXLAN/],
  ['cli/capture-flags.ts', /vni: many/],
  ['cli/network-command.ts', /networks with their VNI|backend, VNI, port or MTU/],
  ['cli/change-flags.ts', /Pick<ChangeWish/],
  ['cli/change-network.ts', /begin one with/],
  ['cli/status-command.ts', /name, vni, subnets|VNI \$\{vni\}/],
  ['cli/lab-walk.ts', /That is VXLAN/],
  ['cli/capture-command.ts', /USUAL_PORTS/],
  ['cli/lab-flags.ts', /default: 'vxlan'|flannel's `name`: vxlan/],
  ['node/flanneld-flags.ts', /vxlan=2,etcd/],
  ['observe/api.ts', /readonly vtep\?: /],
  ['cli/peer-filter.ts', /\bvtep\b/],
  ['observe/peers-reply.ts', /vtep: \{/],
  ['observe/openapi-schemas.ts', /vtep|`vxlan`|vni: /i],
  ['observe/local-api.ts', /a VNI of its own/],
  ['registry/choose-api.ts', /"Type":"vxlan"/],
  ['reconcile/compare.ts', /vxlan|vtep|vni/i],
];
const OWN_WORDS = /vxlan|vtep|\bvni\b|flannel\.(?:\d|\$|\\)|flannel-v6/i;

test('a backend is pure: it knows values and the kinds of kernel state, and no other room', () => {
  const folder = fileURLToPath(new URL('.', import.meta.url));
  const rooms = readdirSync(folder)
    .filter((name) => !name.endsWith('.test.ts'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').match(/(?<=from ')[^']+/g) ?? [])
    .map((path) => /^#src\/(\w+)\//.exec(path)?.[1] ?? path);
  assert.deepEqual([...new Set(rooms)].sort(), ['backend', 'lib', 'network', 'state']);
});

test('outside of the backends nothing knows a device name, a VNI, a VTEP MAC or an overhead', () => {
  const source = fileURLToPath(new URL('..', import.meta.url));
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' });
  const knowing = files
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .filter(
      (name) =>
        !KNOWING.includes(name.split('/')[0] ?? '') && !OF_TENANTS.test(name) && !OF_FAST_PATH.test(name),
    )
    .flatMap((name) => {
      const code = readFileSync(join(source, name), 'utf8').replace(
        /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm,
        '',
      );
      const lines = code.split('\n').filter((line) => OWN_WORDS.test(line));
      const words = EXAMPLES.find(([file]) => file === name)?.[1];
      return lines.filter((line) => !words?.test(line)).map((line) => `${name}: ${line.trim()}`);
    });
  assert.deepEqual(knowing, []);
});
