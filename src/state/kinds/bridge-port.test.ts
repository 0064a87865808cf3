import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BRIDGE_PORT, type BridgePort } from '#src/state/kinds/bridge-port.ts';

const port = (flags: Partial<BridgePort>): BridgePort => ({ kind: 'bridge-port', device: 'vx-7', ...flags });
const wanted = port({ learning: false, neighSuppress: true, flood: false });

test('only flags that are wanted are compared', () => {
  const found = { ...wanted, hairpin: true, isolated: true };
  assert.ok(BRIDGE_PORT.isAsWanted(wanted, found));
  assert.deepEqual(BRIDGE_PORT.differences(wanted, found), []);
});

test('a difference is in the words of `bridge link`', () => {
  const found = { ...wanted, learning: true, neighSuppress: false };
  assert.ok(!BRIDGE_PORT.isAsWanted(wanted, found));
  assert.deepEqual(BRIDGE_PORT.differences(wanted, found), [
    'learning: on, wanted off',
    'neigh_suppress: off, wanted on',
  ]);
});

test('a flag that this kernel does not have is left alone', () => {
  assert.ok(BRIDGE_PORT.isAsWanted(port({ locked: true }), port({ learning: true })));
});

test('the commands are those of iproute2', () => {
  assert.equal(
    BRIDGE_PORT.command('replace', wanted),
    'bridge link set dev vx-7 learning off neigh_suppress on flood off',
  );
  assert.equal(BRIDGE_PORT.command('remove', wanted), '# nothing removes the flags of vx-7');
});

test('a tunnel that loses its flag loses the VNIs of its VLANs, and no other flag takes anything along', () => {
  const tunnel = port({ vlanTunnel: true });
  assert.ok(BRIDGE_PORT.takesAlong(tunnel, port({ vlanTunnel: false })));
  assert.ok(!BRIDGE_PORT.takesAlong(port({ vlanTunnel: false }), tunnel));
  assert.ok(!BRIDGE_PORT.takesAlong(port({ vlanTunnel: false }), port({ vlanTunnel: false })));
  assert.ok(!BRIDGE_PORT.takesAlong(wanted, port({ learning: true })));
  assert.ok(!BRIDGE_PORT.takesAlong(tunnel, undefined));
});
