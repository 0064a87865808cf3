import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BRIDGE_VLAN, type BridgeVlan } from '#src/state/kinds/bridge-vlan.ts';
import type { Operation } from '#src/state/operation.ts';

const tunnel: BridgeVlan = { kind: 'bridge-vlan', device: 'vx-all', vlan: 1, untagged: false, vni: 70_001 };
const port: BridgeVlan = { kind: 'bridge-vlan', device: 'p1', vlan: 1, untagged: true };
const commands = (operations: readonly Operation<BridgeVlan>[] = []): string[] =>
  operations.map(({ verb, object }) => BRIDGE_VLAN.command(verb, object));

test('a VLAN is a slot of its device', () => {
  assert.ok(BRIDGE_VLAN.sharesSlot(tunnel, { ...tunnel, vni: 7 }));
  assert.ok(!BRIDGE_VLAN.sharesSlot(tunnel, { ...tunnel, vlan: 2 }));
  assert.ok(!BRIDGE_VLAN.sharesSlot(tunnel, { ...tunnel, device: 'vx-all2' }));
});

test('only its tag and its VNI differ', () => {
  assert.deepEqual(BRIDGE_VLAN.differences(tunnel, { ...tunnel, vni: 7 }), ['tunnel id: 7, wanted 70001']);
  assert.deepEqual(BRIDGE_VLAN.differences(port, { ...port, untagged: false }), [
    'untagged: false, wanted true',
  ]);
  assert.ok(BRIDGE_VLAN.isAsWanted({ ...port, self: true }, port));
});

test('flags and a first VNI are set in place, so that frames pass on; another VNI is not', () => {
  const { vni: _, ...bare } = tunnel;
  const add = 'bridge vlan add dev vx-all vid 1 && bridge vlan add dev vx-all vid 1 tunnel_info id 70001';
  assert.deepEqual(commands(BRIDGE_VLAN.operations?.(tunnel, undefined)), [add]);
  assert.deepEqual(commands(BRIDGE_VLAN.operations?.(tunnel, bare)), [add]);
  assert.deepEqual(commands(BRIDGE_VLAN.operations?.(tunnel, { ...tunnel, vni: 7 })), [
    'bridge vlan del dev vx-all vid 1',
    add,
  ]);
  assert.deepEqual(commands(BRIDGE_VLAN.operations?.(port, { ...port, untagged: false })), [
    'bridge vlan add dev p1 vid 1 pvid untagged',
  ]);
});
