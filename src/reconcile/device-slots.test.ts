import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { SlotTable } from '#src/reconcile/slot-table.ts';
import type { KernelObject } from '#src/state/object.ts';

const neighbour = (device: string, n: number): KernelObject => ({
  kind: 'neighbour',
  ip: ipv4(0x0a000000 + n),
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255)),
  device,
  permanent: true,
});

/** What is found on each device, by a walk over all slots. */
function walk(table: SlotTable, device: string): Set<unknown> {
  const found = [...table].filter((slot) => slot.found?.kind === 'neighbour' && slot.found.device === device);
  return new Set(found);
}

test('what is on a device is known without a walk, for few and for many', () => {
  const table = new SlotTable();
  table.put({ kind: 'link', name: 'v1' });
  const put = (device: string, count: number) =>
    Array.from({ length: count }, (_, n) => table.put(neighbour(device, n)));
  const few = put('v1', 3);
  const many = put('v2', 40);
  const check = () => {
    for (const device of ['v1', 'v2', 'v3'])
      assert.deepEqual(new Set(table.foundOn(device)), walk(table, device), device);
  };
  check();
  assert.equal([...table.foundOn('v1')].length, 3, 'the device itself is not on it');
  table.put(neighbour('v1', 0));
  check();
  for (const slot of [...few.slice(1), ...many]) table.clear(slot);
  check();
  assert.equal([...table.foundOn('v2')].length, 0);
  put('v2', 5);
  check();
});

test('slots are emptied while they are gone through', () => {
  for (const count of [10, 50]) {
    const table = new SlotTable();
    for (let n = 0; n < count; n++) table.put(neighbour('v1', n));
    for (const slot of table.foundOn('v1')) table.clear(slot);
    assert.equal([...table].length, 0);
  }
});

test('few slots on one of many devices are found without a look at the others', (t) => {
  const table = new SlotTable();
  for (let n = 0; n < 1_000; n++) table.put(neighbour(`v${n}`, n));
  const walks = t.mock.method(table, Symbol.iterator);
  assert.equal([...table.foundOn('v7')].length, 1);
  assert.equal([...table.foundOn('none')].length, 0);
  assert.equal(walks.mock.callCount(), 0);
});
