import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isVxlanDeviceName, namesFor, vxlanDeviceName } from '#src/backend/vxlan-names.ts';
import type { Link } from '#src/state/object.ts';

const link = (name: string, port: number, vni = 1): Link => ({
  kind: 'link',
  name,
  type: 'vxlan',
  vxlan: { vni, port, learning: false, gbp: false },
});
const [OLD, NEW] = [8472, 4789];
const USUAL = link('flannel.1', OLD);
const SPARE = link('flannel-1', NEW);

test('names', () => {
  assert.equal(vxlanDeviceName(7), 'flannel.7');
  assert.equal(vxlanDeviceName(7, 'v6'), 'flannel-v6.7');
  assert.equal(vxlanDeviceName(9_999_999, 'v4', 'spare'), 'flannel-9999999');
  assert.equal(vxlanDeviceName(7, 'v6', 'spare'), 'flannel-v6-7');
  for (const name of ['flannel.1', 'flannel-1', 'flannel-v6.1', 'flannel-v6-1'])
    assert.ok(isVxlanDeviceName(name), name);
  for (const name of ['flannel.ipip', 'flannel-wg', 'flannel-v6', 'flannel1', 'xflannel.1'])
    assert.ok(!isVxlanDeviceName(name), name);
});

test('one path: the device that is there already, and otherwise the usual name', () => {
  const rows: readonly [port: number, links: Link[], names: string][] = [
    [NEW, [], 'usual'],
    [NEW, [SPARE], 'spare'],
    [NEW, [USUAL, SPARE], 'spare'],
    [OLD, [USUAL, SPARE], 'usual'],
    [NEW, [link('flannel-v6-1', NEW)], 'spare'],
    // A port that was changed while nothing ran: the device is made again under its name.
    [NEW, [USUAL], 'usual'],
    [OLD, [SPARE], 'spare'],
    [5000, [USUAL, SPARE], 'usual'],
    [NEW, [link('flannel-7', NEW, 7)], 'usual'],
  ];
  for (const [port, links, names] of rows)
    assert.equal(namesFor({ vni: 1, port }, links), names, JSON.stringify([port, links]));
});

test('two paths of one VNI never have one name, and each keeps the device that it has', () => {
  const pairOf = (from: number, to: number, links: Link[]) => [
    namesFor({ vni: 1, port: from }, links, { vni: 1, port: to, isOld: false }),
    namesFor({ vni: 1, port: to }, links, { vni: 1, port: from, isOld: true }),
  ];
  assert.deepEqual(pairOf(OLD, NEW, []), ['usual', 'spare']);
  assert.deepEqual(pairOf(OLD, NEW, [USUAL]), ['usual', 'spare']);
  assert.deepEqual(pairOf(OLD, NEW, [USUAL, SPARE]), ['usual', 'spare']);
  assert.deepEqual(pairOf(NEW, OLD, [SPARE]), ['spare', 'usual']);
  assert.deepEqual(pairOf(NEW, 5000, [SPARE]), ['spare', 'usual']);
  assert.deepEqual(pairOf(NEW, OLD, [USUAL, SPARE]), ['spare', 'usual']);
  // Only the new one is left.
  assert.deepEqual(pairOf(OLD, NEW, [SPARE]), ['usual', 'spare']);
  const other = { vni: 7, port: NEW, isOld: true };
  assert.equal(namesFor({ vni: 1, port: OLD }, [], other), 'usual');
});
