import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RotationSchedule } from '#src/backend/rotation-schedule.ts';

const DAY = 86_400_000;
const at = (random: number) => ({ intervalMs: DAY, random: () => random });

test('a new key is renewed in the last eighth of the interval', () => {
  assert.equal(new RotationSchedule(at(0), 0, 1_000).dueAt, 1_000 + (7 * DAY) / 8);
  assert.ok(new RotationSchedule(at(0.999), 0, 1_000).dueAt < 1_000 + DAY);
});

test('an old key is renewed soon after a start, and not by all nodes at once', () => {
  assert.equal(new RotationSchedule(at(0.5), 30 * DAY, 1_000).dueAt, 1_000 + DAY / 16);
  assert.equal(new RotationSchedule(at(0), DAY / 2, 1_000).dueAt, 1_000 + (3 * DAY) / 8);
});

test('a renewal by another node counts from its moment', () => {
  const schedule = new RotationSchedule(at(0), 0, 0);
  schedule.renewed(DAY / 2);
  assert.equal(schedule.dueAt, DAY / 2 + (7 * DAY) / 8);
});

test('what can not begin is tried again after a minute at the latest', () => {
  const schedule = new RotationSchedule(at(0), 0, 0);
  schedule.postpone(DAY);
  assert.equal(schedule.dueAt, DAY + 60_000);
  const quick = new RotationSchedule({ intervalMs: 8_000, random: () => 0 }, 0, 0);
  quick.postpone(8_000);
  assert.equal(quick.dueAt, 9_000);
});

test('whatever the wall clock said, the moment is within the interval', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: -1e13, max: 1e13 }),
      (random, age) => {
        const { dueAt } = new RotationSchedule(at(random), age, 5_000);
        assert.ok(dueAt >= 5_000 && dueAt <= 5_000 + DAY);
      },
    ),
  );
});
