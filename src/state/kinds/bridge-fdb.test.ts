import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { BRIDGE_FDB, type BridgeFdbEntry } from '#src/state/kinds/bridge-fdb.ts';
import { keyOf } from '#src/state/object.ts';

const mac = parseMac('02:42:0a:05:00:0d') ?? assert.fail();
const entry: BridgeFdbEntry = { kind: 'bridge-fdb', mac, bridge: 'br-7', device: 'vx-7', static: true };

test('a MAC has one entry in a bridge, wherever it leads, and one in each bridge', () => {
  assert.ok(BRIDGE_FDB.sharesSlot(entry, { ...entry, device: 'p1' }));
  assert.ok(!BRIDGE_FDB.sharesSlot(entry, { ...entry, bridge: 'br-8' }));
});

test('the entry of the VXLAN device for the same MAC is another one', () => {
  const destination = parseIp('172.31.0.3') ?? assert.fail();
  assert.notEqual(keyOf(entry), keyOf({ kind: 'fdb', mac, destination, device: 'vx-7', permanent: true }));
});

test('an entry that leads elsewhere, or was learnt, is not as wanted', () => {
  assert.deepEqual(BRIDGE_FDB.differences(entry, { ...entry, device: 'p1' }), ['dev: p1, wanted vx-7']);
  assert.deepEqual(BRIDGE_FDB.differences(entry, { ...entry, static: false }), [
    'static: false, wanted true',
  ]);
});

test('a removal means the entry that leads by the device', () => {
  assert.ok(!BRIDGE_FDB.isTarget(entry, { ...entry, device: 'p1' }));
});

test('the commands are those of iproute2', () => {
  assert.equal(
    BRIDGE_FDB.command('replace', entry),
    'bridge fdb replace 02:42:0a:05:00:0d dev vx-7 master static',
  );
  assert.equal(BRIDGE_FDB.command('remove', entry), 'bridge fdb del 02:42:0a:05:00:0d dev vx-7 master');
});
