import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import type { KernelObject } from '#src/state/object.ts';
import { FoundSegments, findSegments } from '#src/tenant/found-segments.ts';
import { ownWiring, sharedWiring } from '#src/tenant/segment-wiring.ts';

/*
 *     br-all ─ vx-all           br-all2 ─ vx-all2        br-9 ─ vx-9
 *      ├ VLAN 1: br-7, p1, p2    └ VLAN 1: br-8, p3       └ p4
 *      ├ VLAN 5: p5
 *      └ p6
 */
const link = (name: string, master?: string): KernelObject => ({
  kind: 'link',
  name,
  ...(master !== undefined && { master }),
});
const inner = (name: string, parent: string): KernelObject => ({
  kind: 'link',
  name,
  vlan: { id: 1, parent },
});
const vlan = (device: string, id: number, vni?: number): KernelObject => ({
  ...{ kind: 'bridge-vlan', device, vlan: id, untagged: vni === undefined },
  ...(vni !== undefined && { vni }),
});
const LINKS = [
  ...[link('br-all'), link('vx-all', 'br-all'), inner('br-7', 'br-all')],
  ...[link('p1', 'br-all'), link('p2', 'br-all'), link('p5', 'br-all'), link('p6', 'br-all')],
  ...[link('br-all2'), link('vx-all2', 'br-all2'), inner('br-8', 'br-all2'), link('p3', 'br-all2')],
  ...[link('br-9'), link('vx-9', 'br-9'), link('p4', 'br-9')],
];
const PORTS = [vlan('p1', 1), vlan('p2', 1), vlan('p3', 1), vlan('p5', 5)];
const TUNNELS = [vlan('vx-all', 1, 7), vlan('vx-all2', 1, 8)];
const names = (links: readonly { readonly name: string }[]): string[] => links.map(({ name }) => name);
const [SEVEN, EIGHT] = [sharedWiring(7, { pair: 1, vlan: 1 }), sharedWiring(8, { pair: 2, vlan: 1 })];

test('segments of both forms are found, each with its devices', () => {
  const found = new FoundSegments([...LINKS, ...PORTS, ...TUNNELS]);
  assert.deepEqual([...found.vnis].sort(), [7, 8, 9]);
  assert.deepEqual(
    [7, 8, 9, 10].map((vni) => found.wiringOf(vni)),
    [SEVEN, EIGHT, ownWiring(9), undefined],
  );
  assert.deepEqual(names(found.devicesIn(SEVEN)), ['vx-all', 'p1', 'p2']);
  assert.deepEqual(names(found.devicesIn(EIGHT)), ['vx-all2', 'p3']);
  assert.deepEqual(names(found.devicesIn(ownWiring(9))), ['vx-9', 'p4']);
  assert.deepEqual(names(found.devicesWithoutVlan(SEVEN)), ['p6']);
  assert.deepEqual(names(found.devicesWithoutVlan(ownWiring(9))), []);
  assert.equal(found.ownTunnel, 'vx-9');
});

test('a port that is left in a VLAN holds it, and so does a device on the bridge', () => {
  const held = (objects: readonly KernelObject[]) =>
    new Set(Array.from(new FoundSegments(objects).heldPlaces(), (at) => `${at.pair} ${at.vlan}`));
  assert.deepEqual(held([...LINKS, ...PORTS]), new Set(['1 1', '1 5', '2 1']));
  assert.deepEqual(held([link('br-all'), inner('br-7', 'br-all')]), new Set(['1 1']));
  // A bridge of somebody else.
  assert.deepEqual(held([link('docker0'), link('p1', 'docker0'), vlan('p1', 3)]), new Set());
});

test('a tunnel that has lost its VLAN leaves the tenant where it is', () => {
  const found = new FoundSegments([...LINKS, ...PORTS]);
  assert.deepEqual([found.wiringOf(7), found.wiringOf(8)], [SEVEN, EIGHT]);
});

test('VLANs are asked for only where there are shared devices', async () => {
  const kernel = new MemoryKernel();
  for (const object of [link('br-9'), link('vx-9', 'br-9')]) kernel.interfere({ verb: 'add', object });
  let dumps = 0;
  const counting = {
    links: () => kernel.links(),
    dump: (query: Parameters<typeof kernel.dump>[0]) => {
      dumps++;
      return kernel.dump(query);
    },
  };
  assert.equal((await findSegments(counting)).hasShared, false);
  assert.equal(dumps, 0);
  kernel.interfere({ verb: 'add', object: link('br-all') });
  assert.equal((await findSegments(counting)).hasShared, true);
  assert.equal(dumps, 1);
});
