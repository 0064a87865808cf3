import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import {
  deviceOf,
  type KernelObject,
  KINDS,
  keyOf,
  type Link,
  type Route,
  type Sysctl,
} from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import { anyObject } from '../../test/support/any-object.ts';
import { PEER_FDB, PEER_ROUTE } from '../../test/support/peer-objects.ts';

const ip = (text: string) => parseIp(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);

test('two objects share a slot when their keys are the same, and then have the same hash', () => {
  fc.assert(
    fc.property(anyObject, anyObject, (a, b) => {
      fc.pre(a.kind === b.kind);
      const kind = KINDS.of(a);
      assert.equal(kind.sharesSlot(a, b), keyOf(a) === keyOf(b));
      if (kind.sharesSlot(a, b)) assert.equal(kind.hash(a), kind.hash(b));
    }),
  );
});

test('objects of different kinds have different keys', () => {
  fc.assert(
    fc.property(anyObject, anyObject, (a, b) => {
      fc.pre(a.kind !== b.kind);
      assert.notEqual(keyOf(a), keyOf(b));
    }),
  );
});

test('an object without differences is as wanted', () => {
  fc.assert(
    fc.property(anyObject, anyObject, (wanted, found) => {
      fc.pre(keyOf(wanted) === keyOf(found));
      const kind = KINDS.of(wanted);
      assert.equal(kind.isAsWanted(wanted, found), kind.differences(wanted, found).length === 0);
    }),
  );
});

test('an object is as wanted by itself, and stays so through its own operations', () => {
  fc.assert(
    fc.property(anyObject, (object) => {
      assert.ok(KINDS.of(object).isAsWanted(object, object));
    }),
  );
});

test('differences, keys and commands write addresses as addresses', () => {
  fc.assert(
    fc.property(anyObject, anyObject, (wanted, found) => {
      fc.pre(keyOf(wanted) === keyOf(found));
      const kind = KINDS.of(wanted);
      const texts = [
        ...kind.differences(wanted, found),
        keyOf(wanted),
        kind.format(wanted),
        kind.command('replace', wanted),
      ];
      for (const text of texts) assert.doesNotMatch(text, /(?<![\d.:a-f])\d{7,}(?![\d.:a-f])/);
    }),
  );
});

const vxlan: Link = {
  kind: 'link',
  name: 'flannel.1',
  vxlan: { vni: 1, local: ip('172.16.70.191'), port: 8472, learning: false, gbp: false },
};
const route6: Route = { ...PEER_ROUTE, destination: prefix('fd00:9::/64'), via: ip('fd00:9::') };

const DIFFERENCES: readonly (readonly [string, KernelObject, KernelObject, readonly string[]])[] = [
  [
    'another VTEP address, in flannel’s words',
    vxlan,
    { ...vxlan, vxlan: { ...(vxlan.vxlan ?? assert.fail()), local: ip('172.16.70.7') } },
    ['vtep (external) IP: 172.16.70.191 vs 172.16.70.7'],
  ],
  [
    'another VTEP',
    PEER_FDB,
    { ...PEER_FDB, destination: ip('192.0.2.2') },
    ['dst: 192.0.2.2, wanted 192.0.2.9'],
  ],
  ['another gateway', PEER_ROUTE, { ...PEER_ROUTE, via: ip('10.0.0.1') }, ['via: 10.0.0.1, wanted 10.5.9.0']],
  ['another scope', PEER_ROUTE, { ...PEER_ROUTE, scope: 253 }, ['scope: 253, wanted 0']],
  ['no scope in IPv6', { ...route6, scope: 253 }, { ...route6, scope: 0 }, []],
  ['the metric that IPv6 has without one', route6, { ...route6, metric: 1024 }, []],
  ['a setting', sysctl('1'), sysctl('0'), ['value: 0, wanted 1']],
  ['a setting that this kernel does not have', sysctl('1'), { kind: 'sysctl', path: 'net/x' }, []],
];

function sysctl(value: string): Sysctl {
  return { kind: 'sysctl', path: 'net/x', value };
}

for (const [name, wanted, found, expected] of DIFFERENCES) {
  test(`differences: ${name}`, () => assert.deepEqual(KINDS.of(wanted).differences(wanted, found), expected));
}

test('an IPv6 route without a metric is in the slot of metric 1024, an IPv4 route is not', () => {
  assert.equal(keyOf(route6), keyOf({ ...route6, metric: 1024 }));
  assert.notEqual(keyOf(PEER_ROUTE), keyOf({ ...PEER_ROUTE, metric: 1024 }));
});

const SYSCTLS: readonly (readonly [path: string, device: string | undefined])[] = [
  ['net/ipv4/ip_forward', undefined],
  ['net/ipv4/conf/all/forwarding', undefined],
  ['net/ipv6/conf/default/forwarding', undefined],
  ['net/ipv4/conf/flannel.1/forwarding', 'flannel.1'],
  ['net/ipv6/conf/eth0.7/accept_ra', 'eth0.7'],
  ['net/ipv4/neigh/eth0/base_reachable_time', 'eth0'],
];

test('a device’s setting is on the device', () => {
  for (const [path, device] of SYSCTLS)
    assert.equal(deviceOf({ kind: 'sysctl', path, value: '1' }), device, path);
  assert.equal(
    commandOf({
      verb: 'replace',
      object: { kind: 'sysctl', path: 'net/ipv4/conf/eth0.7/forwarding', value: '1' },
    }),
    'sysctl -w net/ipv4/conf/eth0.7/forwarding=1',
  );
});

test('secrets of WireGuard are hidden in all texts', () => {
  const presharedKey = Secret.copyOf(new Uint8Array(32).fill(7));
  const peer: KernelObject = {
    kind: 'wireguard-peer',
    device: 'flannel-wg',
    publicKey: 'A'.repeat(43).concat('='),
    endpoint: { ip: ip('192.0.2.9'), port: 51_820 },
    allowedIps: [prefix('10.5.9.0/24')],
    presharedKey,
    keepalive: 25,
  };
  assert.equal(
    commandOf({ verb: 'replace', object: peer }),
    `wg set flannel-wg peer ${peer.publicKey} preshared-key (hidden) endpoint 192.0.2.9:51820 persistent-keepalive 25 allowed-ips 10.5.9.0/24`,
  );
  const { presharedKey: _, ...without } = peer;
  assert.deepEqual(KINDS.of(peer).differences(peer, without), ['preshared key: none, wanted (hidden)']);
  assert.deepEqual(KINDS.of(peer).differences(without, peer), ['preshared key: another, wanted none']);
  const device: KernelObject = {
    kind: 'wireguard-device',
    device: 'flannel-wg',
    publicKey: peer.publicKey,
    privateKey: presharedKey,
    listenPort: 51_820,
    fwmark: 0,
  };
  assert.equal(
    commandOf({ verb: 'replace', object: device }),
    'wg set flannel-wg private-key (hidden) listen-port 51820 fwmark 0',
  );
  assert.doesNotMatch(JSON.stringify([peer, device]), /BwcH/);
});

test('the order of allowed IPs does not matter', () => {
  const [a, b] = [prefix('10.5.9.0/24'), prefix('fd00::/64')];
  const peer: KernelObject = {
    kind: 'wireguard-peer',
    device: 'flannel-wg',
    publicKey: 'k',
    endpoint: { ip: ip('fd77::1'), port: 1 },
    allowedIps: [a, b],
    keepalive: 0,
  };
  const kind = KINDS.of(peer);
  assert.ok(kind.isAsWanted(peer, { ...peer, allowedIps: [b, a] }));
  assert.deepEqual(kind.differences(peer, { ...peer, allowedIps: [b] }), [
    'allowed ips: fd00::/64, wanted 10.5.9.0/24,fd00::/64',
  ]);
});
