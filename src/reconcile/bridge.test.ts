import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { macFromBytes } from '#src/lib/mac.ts';
import { type BridgeFdbEntry, type KernelObject, KINDS, type Link } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { host } from '../../test/support/reconciled-host.ts';

/*
 * One namespace in memory with the bridge br-7, in which are p1 and vx-7.
 */
const bridge: Link = { kind: 'link', name: 'br-7', up: true, bridge: { multicastSnooping: false } };
const inBridge = (name: string): Link => ({ kind: 'link', name, type: 'dummy', master: 'br-7', up: true });
const flags = (device: string): KernelObject => ({ kind: 'bridge-port', device, learning: false });
const entry = (device: string): BridgeFdbEntry => ({
  kind: 'bridge-fdb',
  mac: macFromBytes(Uint8Array.of(2, 66, 10, 5, 0, 13)),
  bridge: 'br-7',
  device,
  static: true,
});
const WANTED = [inBridge('vx-7'), inBridge('p1'), bridge, flags('vx-7'), flags('p1'), entry('vx-7')];

async function tenant(t: TestContext) {
  const { kernel, reconciler } = await host(t);
  const owner = reconciler.own({
    name: 'tenants',
    scopes: () => SCOPES,
  });
  owner.allowRemoval();
  owner.set('own', WANTED);
  await owner.settled();
  assert.deepEqual(owner.status.failing, []);
  return { kernel, owner };
}
const SCOPES = [{ kinds: KINDS.names, owns: ({ kind }: KernelObject) => kind === 'bridge-fdb' }];

const set = (link: Partial<Link> & { readonly name: string }): Operation => ({
  verb: 'set',
  object: { kind: 'link', ...link },
});

const DRIFT: readonly (readonly [name: string, drift: Operation])[] = [
  ['a flag', { verb: 'replace', object: { kind: 'bridge-port', device: 'vx-7', learning: true } }],
  ['an entry that went', { verb: 'remove', object: entry('vx-7') }],
  ['an entry that leads elsewhere', { verb: 'replace', object: entry('p1') }],
  ['a device that left its bridge', set({ name: 'vx-7', master: null })],
  ['a device that went', { verb: 'remove', object: inBridge('vx-7') }],
  ['the bridge that went', { verb: 'remove', object: bridge }],
  ['a setting of the bridge', set({ name: 'br-7', bridge: { multicastSnooping: true } })],
];

for (const [name, drift] of DRIFT) {
  test(`repaired: ${name}`, async (t) => {
    const { kernel, owner } = await tenant(t);
    const right = kernel.text;
    kernel.interfere(drift);
    assert.notDeepEqual(kernel.text, right);
    await owner.settled();
    assert.deepEqual(kernel.text, right);
    assert.deepEqual(owner.status.failing, []);
  });
}

test('a VLAN that is reported before its VNI, and late, is no drift', async (t) => {
  const { kernel, owner } = await tenant(t);
  const vlan = { kind: 'bridge-vlan', device: 'vx-7', vlan: 1, untagged: false } as const;
  owner.set('own', [...WANTED, { ...vlan, vni: 70_001 }]);
  await owner.settled();
  const { length } = kernel.history;
  kernel.emit({ type: 'changed', object: vlan });
  await owner.settled();
  assert.deepEqual(owner.status.failing, []);
  assert.deepEqual(kernel.history.slice(length), []);
});

test('an entry that moves to another device is replaced in one operation', async (t) => {
  const { kernel, owner } = await tenant(t);
  kernel.history.length = 0;
  owner.set('own', [...WANTED.slice(0, -1), entry('p1')]);
  await owner.settled();
  assert.deepEqual(kernel.history, ['bridge fdb replace 02:42:0a:05:00:0d dev p1 master static']);
});

test('a device in no bridge has neither flags nor entries there', async (t) => {
  const { kernel, owner } = await tenant(t);
  owner.set('own', [bridge, { ...inBridge('vx-7'), master: null }, inBridge('p1'), flags('p1')]);
  await owner.settled();
  assert.deepEqual(
    kernel.text.filter((text) => text.includes('vx-7')),
    ['link vx-7 mtu 1500 type dummy'],
  );
});
