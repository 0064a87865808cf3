import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { type PlannedSlot, planOf } from '#src/reconcile/plan.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

function must<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

const link: Link = {
  kind: 'link',
  name: 'flannel.1',
  type: 'vxlan',
  mac: must(parseMac('4e:75:5c:b8:d8:8e')),
  mtu: 1450,
  up: true,
  vxlan: {
    vni: 1,
    underlay: 'eth0',
    local: must(parseIpv4('172.16.70.191')),
    port: 8472,
    learning: false,
    gbp: false,
  },
};
const address: KernelObject = {
  kind: 'address',
  prefix: must(parsePrefix4('10.0.65.0/32')),
  device: 'flannel.1',
};

function peer(subnet: string, vtep: string, mac: string): KernelObject[] {
  const destination = must(parsePrefix4(subnet));
  const lladdr = must(parseMac(mac));
  const common = { device: 'flannel.1', permanent: true } as const;
  return [
    {
      kind: 'route',
      destination,
      type: 'unicast',
      via: destination.address,
      device: 'flannel.1',
      onlink: true,
      metric: 0,
      protocol: 3,
      scope: 0,
    },
    { kind: 'neighbour', ip: destination.address, mac: lladdr, ...common },
    { kind: 'fdb', mac: lladdr, destination: must(parseIpv4(vtep)), ...common },
  ];
}

const plan = (slots: PlannedSlot[]): string[] => planOf(slots).map(commandOf);
const wants = (objects: KernelObject[]): PlannedSlot[] =>
  objects.map((wanted) => ({ wanted, found: undefined }));

test('an empty host gets device, address, then each peer with its route last', () => {
  assert.deepEqual(
    plan(wants([...peer('10.0.32.0/24', '172.16.70.192', '4e:75:5c:b8:d8:8f'), address, link])),
    [
      'ip link add flannel.1 address 4e:75:5c:b8:d8:8e mtu 1450 type vxlan id 1 dev eth0 local 172.16.70.191 dstport 8472 nolearning',
      'ip link set flannel.1 up',
      'ip address replace 10.0.65.0/32 dev flannel.1',
      'bridge fdb replace 4e:75:5c:b8:d8:8f dev flannel.1 dst 172.16.70.192 self permanent',
      'ip neigh replace 10.0.32.0 lladdr 4e:75:5c:b8:d8:8f dev flannel.1 nud permanent',
      'ip route replace 10.0.32.0/24 via 10.0.32.0 dev flannel.1 onlink',
    ],
  );
});

test('what is as wanted is left alone', () => {
  const objects = [link, address, ...peer('10.0.32.0/24', '172.16.70.192', '4e:75:5c:b8:d8:8f')];
  assert.deepEqual(plan(objects.map((object) => ({ wanted: object, found: object }))), []);
});

test('a peer that goes loses its route first', () => {
  const found = peer('10.0.32.0/24', '172.16.70.192', '4e:75:5c:b8:d8:8f').reverse();
  assert.deepEqual(plan(found.map((object) => ({ wanted: undefined, found: object }))), [
    'ip route del 10.0.32.0/24 via 10.0.32.0 dev flannel.1 onlink',
    'ip neigh del 10.0.32.0 lladdr 4e:75:5c:b8:d8:8f dev flannel.1',
    'bridge fdb del 4e:75:5c:b8:d8:8f dev flannel.1 dst 172.16.70.192 self',
  ]);
});

test("a peer's new MAC is in the forwarding table before the neighbour leads to it, and the old one goes last", () => {
  const [, oldNeighbour, oldFdb] = peer('10.0.32.0/24', '172.16.70.192', '4e:75:5c:b8:d8:8f');
  const [, newNeighbour, newFdb] = peer('10.0.32.0/24', '172.16.70.192', '02:00:00:00:00:01');
  assert.deepEqual(
    plan([
      { wanted: newNeighbour, found: oldNeighbour },
      { wanted: undefined, found: oldFdb },
      { wanted: newFdb, found: undefined },
    ]),
    [
      'bridge fdb replace 02:00:00:00:00:01 dev flannel.1 dst 172.16.70.192 self permanent',
      'ip neigh replace 10.0.32.0 lladdr 02:00:00:00:00:01 dev flannel.1 nud permanent',
      'bridge fdb del 4e:75:5c:b8:d8:8f dev flannel.1 dst 172.16.70.192 self',
    ],
  );
});

const DEVICE_CASES: readonly (readonly [string, Partial<Link>, readonly string[]])[] = [
  ['another MTU', { mtu: 1400 }, ['ip link set flannel.1 mtu 1450']],
  [
    'another MAC',
    { mac: must(parseMac('02:00:00:00:00:09')) },
    ['ip link set flannel.1 address 4e:75:5c:b8:d8:8e'],
  ],
  ['switched off', { up: false }, ['ip link set flannel.1 up']],
];
for (const [name, found, expected] of DEVICE_CASES) {
  test(`a device that fits but for ${name} is changed in place`, () => {
    assert.deepEqual(plan([{ wanted: link, found: { ...link, ...found } }]), expected);
  });
}

test('a device with another port is deleted and made again', () => {
  const found: Link = { ...link, vxlan: { ...must(link.vxlan), port: 4789 } };
  const commands = plan([{ wanted: link, found }]);
  assert.equal(commands[0], 'ip link del flannel.1');
  assert.match(must(commands[1]), /^ip link add flannel\.1 .*dstport 8472/);
  assert.equal(commands[2], 'ip link set flannel.1 up');
});

test('a container that moves away has its frames passed on before its port goes down; one that comes is locked last', () => {
  const mac = must(parseMac('02:42:0a:05:00:0b'));
  const bridge = 'br-7';
  const port = { kind: 'link', name: 'p1', type: 'veth', master: bridge } as const;
  const here: KernelObject = { kind: 'bridge-fdb', mac, bridge, device: 'p1', static: true };
  const there: KernelObject = { ...here, device: 'vx-7' };
  const tunnel: KernelObject = {
    kind: 'fdb',
    mac,
    device: 'vx-7',
    destination: must(parseIpv4('172.31.0.2')),
    permanent: true,
  };
  const flags = { kind: 'bridge-port', device: 'vx-7' } as const;
  assert.deepEqual(
    plan([
      { wanted: { ...port, up: false }, found: { ...port, up: true } },
      { wanted: { ...flags, hairpin: true }, found: { ...flags, hairpin: false } },
      { wanted: there, found: here },
      { wanted: tunnel, found: undefined },
    ]),
    [
      'bridge link set dev vx-7 hairpin on',
      'bridge fdb replace 02:42:0a:05:00:0b dev vx-7 dst 172.31.0.2 self permanent',
      'bridge fdb replace 02:42:0a:05:00:0b dev vx-7 master static',
      'ip link set p1 down',
    ],
  );
  const lock = { kind: 'bridge-port', device: 'p1', learning: false } as const;
  assert.deepEqual(
    plan([
      { wanted: { ...lock, locked: true }, found: { ...lock, locked: false } },
      { wanted: here, found: there },
    ]),
    [
      'bridge fdb replace 02:42:0a:05:00:0b dev p1 master static',
      'bridge link set dev p1 learning off locked on',
    ],
  );
  assert.equal(
    plan([
      { wanted: { ...lock, locked: true }, found: undefined },
      { wanted: here, found: there },
    ])[0],
    'bridge link set dev p1 learning off locked on',
  );
});
