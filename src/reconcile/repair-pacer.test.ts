import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';

test('thirty repairs in a row are at once, then one a second', () => {
  const pacer = new RepairPacer();
  for (let n = 1; n <= 30; n++) {
    assert.equal(pacer.delay('a', 0), 0, `repair ${n}`);
    assert.equal(pacer.repaired('a', 0), n === 30);
  }
  assert.equal(pacer.delay('a', 0), 1_000);
  assert.equal(pacer.delay('a', 400), 600);
  assert.equal(pacer.delay('a', 1_000), 0);
  assert.equal(pacer.repaired('a', 1_000), false);
  assert.equal(pacer.delay('a', 1_000), 1_000);
});

test('slots do not wait for each other', () => {
  const pacer = new RepairPacer();
  for (let n = 0; n < 35; n++) pacer.repaired('a', 0);
  assert.equal(pacer.delay('b', 0), 0);
});

test('a slot that was left alone is as new', () => {
  const pacer = new RepairPacer();
  for (let n = 0; n < 30; n++) pacer.repaired('a', 0);
  pacer.forgetOld(30_000);
  for (let n = 1; n <= 30; n++) assert.equal(pacer.repaired('a', 30_000), n === 30);
});
