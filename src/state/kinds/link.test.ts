import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4 } from '#src/lib/ip.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { LINK, type Link } from '#src/state/kinds/link.ts';
import { HOST_NAMESPACE } from '#src/state/kinds/veth.ts';
import type { KernelObject } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

const local = parseIpv4('172.31.0.1') ?? assert.fail();
const bridge: Link = {
  kind: 'link',
  name: 'br-7',
  mtu: 1450,
  up: true,
  bridge: { multicastSnooping: false },
};
const vxlan: Link = {
  kind: 'link',
  name: 'vx-7',
  master: 'br-7',
  up: true,
  vxlan: { vni: 7, local, port: 8473, learning: false, gbp: false, socketIn: 'host' },
};
const IPIP = { local, ttl: 0, pathMtuDiscovery: false };
const ipip: Link = { kind: 'link', name: 'flannel.ipip', mtu: 1480, up: true, ipip: IPIP };
const tun: Link = {
  kind: 'link',
  name: 'flannel0',
  type: 'tun',
  mtu: 1472,
  up: true,
  isMadeElsewhere: true,
};
const veth: Link = {
  kind: 'link',
  name: 'p1',
  master: 'br-7',
  up: true,
  veth: { peer: 'w1', peerNamespace: HOST_NAMESPACE, peerMtu: 1450 },
};

const commandsFor = (wanted: Link, found: Link | undefined): string[] =>
  planOf([{ wanted, found }]).map(commandOf);

test('devices are made, then put into their bridge, and come up when all of theirs is there', () => {
  const flags: KernelObject = { kind: 'bridge-port', device: 'vx-7', learning: false };
  const slots = [vxlan, veth, flags, bridge].map((wanted) => ({ wanted, found: undefined }));
  assert.deepEqual(planOf(slots).map(commandOf), [
    'ip link add vx-7 link-netns host type vxlan id 7 local 172.31.0.1 dstport 8473 nolearning',
    'ip link add p1 type veth peer name w1 mtu 1450 netns 1',
    'ip link add br-7 mtu 1450 type bridge mcast_snooping 0',
    'ip link set br-7 mtu 1450 up',
    'ip link set vx-7 master br-7',
    'ip link set p1 master br-7',
    'bridge link set dev vx-7 learning off',
    'ip link set vx-7 master br-7 up',
    'ip link set p1 master br-7 up',
  ]);
});

const found = {
  ipip: { ...ipip, type: 'ipip' },
  bridge: { ...bridge, type: 'bridge' },
  vxlan: { ...vxlan, type: 'vxlan' },
};
const inNone: Link = { kind: 'link', name: 'p1', type: 'veth', up: true };

const CHANGES: readonly (readonly [
  name: string,
  Link,
  Link | undefined,
  differences: string[],
  commands: string[],
])[] = [
  ['a veth pair stays as it was made', veth, { ...inNone, master: 'br-7' }, [], []],
  [
    'a device that left its bridge goes back',
    veth,
    inNone,
    ['master: none, wanted br-7'],
    ['ip link set p1 master br-7'],
  ],
  [
    'a device that left its bridge, and went down, comes up last',
    veth,
    { ...inNone, up: false },
    ['up: false, wanted true', 'master: none, wanted br-7'],
    ['ip link set p1 master br-7', 'ip link set p1 master br-7 up'],
  ],
  [
    'a device that shall be in no bridge leaves it',
    { kind: 'link', name: 'p1', master: null },
    { ...inNone, master: 'br-7' },
    ['master: br-7, wanted none'],
    ['ip link set p1 nomaster'],
  ],
  ['a device that is in no bridge as it shall', { kind: 'link', name: 'p1', master: null }, inNone, [], []],
  [
    'a device whose bridge does not matter',
    { kind: 'link', name: 'p1' },
    { ...inNone, master: 'br-7' },
    [],
    [],
  ],
  [
    'a bridge’s setting is changed in place',
    bridge,
    { ...found.bridge, bridge: { multicastSnooping: true } },
    ['mcast_snooping: true, wanted false'],
    ['ip link set br-7 type bridge mcast_snooping 0'],
  ],
  ['a setting that this kernel does not have is left alone', bridge, { ...found.bridge, bridge: {} }, [], []],
  [
    'what is no bridge is made again',
    bridge,
    { kind: 'link', name: 'br-7', type: 'veth', mtu: 1450, up: true },
    ['link type: bridge vs veth'],
    [
      'ip link del br-7',
      'ip link add br-7 mtu 1450 type bridge mcast_snooping 0',
      'ip link set br-7 mtu 1450 up',
    ],
  ],
  ['an ipip device as it shall be', ipip, found.ipip, [], []],
  [
    'an ipip device with one other end is made again',
    ipip,
    { ...found.ipip, ipip: { ...IPIP, remote: local, ttl: 3, pathMtuDiscovery: true } },
    ['remote: any vs 172.31.0.1', 'ttl: 0 vs 3', 'pmtudisc: false vs true'],
    [
      'ip link del flannel.ipip',
      'ip link add flannel.ipip mtu 1480 type ipip local 172.31.0.1 ttl inherit nopmtudisc',
      'ip link set flannel.ipip up',
    ],
  ],
  [
    'what is no ipip device is made again',
    ipip,
    { kind: 'link', name: 'flannel.ipip', type: 'dummy', mtu: 1480, up: true },
    ['link type: ipip vs dummy'],
    [
      'ip link del flannel.ipip',
      'ip link add flannel.ipip mtu 1480 type ipip local 172.31.0.1 ttl inherit nopmtudisc',
      'ip link set flannel.ipip up',
    ],
  ],
  ['what another makes is not made', tun, undefined, [], []],
  [
    'what another made is set',
    tun,
    { kind: 'link', name: 'flannel0', type: 'tun', mtu: 1500, up: false },
    ['mtu: 1500, wanted 1472', 'up: false, wanted true'],
    ['ip link set flannel0 mtu 1472 up'],
  ],
  ['a device with its socket in the host’s namespace', vxlan, found.vxlan, [], []],
  [
    'a device with its socket in its own namespace is made again',
    vxlan,
    { ...found.vxlan, vxlan: { vni: 7, local, port: 8473, learning: false, gbp: false } },
    ['socket in: host vs none'],
    [
      'ip link del vx-7',
      'ip link add vx-7 link-netns host type vxlan id 7 local 172.31.0.1 dstport 8473 nolearning',
      'ip link set vx-7 master br-7',
      'ip link set vx-7 master br-7 up',
    ],
  ],
];

for (const [name, wanted, there, differences, commands] of CHANGES) {
  test(name, () => {
    if (there !== undefined) assert.deepEqual(LINK.differences(wanted, there), differences);
    assert.deepEqual(commandsFor(wanted, there), commands);
  });
}

test('the bridge is among the devices that a device needs', () => {
  assert.deepEqual(LINK.devicesNeeded(vxlan), ['vx-7', 'br-7']);
  assert.deepEqual(LINK.devicesNeeded(bridge), ['br-7']);
});
