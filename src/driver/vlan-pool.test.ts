import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VlanPool } from '#src/driver/vlan-pool.ts';
import { HIGHEST_VLAN, type SharedPlace } from '#src/tenant/segment-wiring.ts';

const NOTHING = { places: new Map<number, SharedPlace>(), held: [] };
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

test('each tenant has a VLAN of its own, and keeps it while it is in use', () => {
  const pool = new VlanPool(NOTHING, () => []);
  assert.deepEqual(
    [70, 80, 70].map((vni) => pool.take(vni).vlan),
    [1, 2, 1],
  );
  assert.equal(pool.giveBack(70), false);
  assert.deepEqual(pool.placeOf(70), { pair: 1, vlan: 1 });
  assert.equal(pool.giveBack(70), true);
  assert.equal(pool.placeOf(70), undefined);
  assert.equal(pool.giveBack(70), false);
});

test('what an earlier run left stays with its tenant, and what devices have is given to nobody', () => {
  const places = new Map([[70, { pair: 1, vlan: 2 }]]);
  const held = [2, 3].map((vlan) => ({ pair: 1, vlan }));
  const pool = new VlanPool({ places, held }, () => held);
  assert.deepEqual(
    [80, 70, 90].map((vni) => pool.take(vni).vlan),
    [1, 2, 4],
  );
});

test('one that was given back goes to another tenant after all others, and not while a device has it', () => {
  const held: SharedPlace[] = [];
  const pool = new VlanPool(NOTHING, () => held);
  for (const vni of [1, 2, 3]) pool.take(vni);
  for (const vni of [1, 2, 3]) pool.giveBack(vni);
  const later = range(4, HIGHEST_VLAN).map((vni) => pool.take(vni).vlan);
  assert.deepEqual(later, range(4, HIGHEST_VLAN));
  held.push({ pair: 1, vlan: 2 });
  assert.deepEqual(
    [10_001, 10_002, 10_003].map((vni) => pool.take(vni)),
    [
      { pair: 1, vlan: 1 },
      { pair: 1, vlan: 3 },
      // The port of a tenant that is gone is still in VLAN 2.
      { pair: 2, vlan: 1 },
    ],
  );
  held.pop();
  assert.deepEqual(pool.take(10_004), { pair: 1, vlan: 2 });
});

test('a bridge that is full has another one beside it, without a look at its devices each time', () => {
  let looks = 0;
  const pool = new VlanPool(NOTHING, () => {
    looks++;
    return [];
  });
  const given = new Set<string>();
  for (const vni of range(1, 2 * HIGHEST_VLAN + 1)) {
    const { pair, vlan } = pool.take(vni);
    given.add(`${pair} ${vlan}`);
  }
  assert.equal(given.size, 2 * HIGHEST_VLAN + 1);
  assert.deepEqual([...pool.pairs], [1, 2, 3]);
  assert.equal(looks, 0);
  pool.giveBack(2 * HIGHEST_VLAN + 1);
  assert.deepEqual([...pool.pairs], [1, 2]);
});

test('a tenant of an earlier run that never came back leaves its VLAN to another', () => {
  const places = new Map([[70, { pair: 1, vlan: 1 }]]);
  const held = [...places.values()];
  const pool = new VlanPool({ places, held }, () => held);
  for (const vni of range(1_001, 1_000 + HIGHEST_VLAN - 1)) pool.take(vni);
  assert.deepEqual(pool.take(9_000), { pair: 2, vlan: 1 });
  held.pop();
  assert.deepEqual(pool.take(9_001), { pair: 1, vlan: 1 });
  assert.equal(pool.placeOf(70), undefined);
});
