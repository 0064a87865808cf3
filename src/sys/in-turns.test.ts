import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#src/sys/clock.ts';
import { inTurns } from '#src/sys/in-turns.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

/** By it, no work fits into a turn: each look finds it spent. */
function impatientClock(): Clock {
  let ms = 0;
  const next = () => {
    ms += 1_000;
    return ms;
  };
  return { now: next, monotonic: next, sleep: () => Promise.reject(new Error('nobody sleeps here')) };
}

test('no more than 16 things are visited in one turn of the event loop when the time is up', async () => {
  let [visited, most, isDone] = [0, 0, false];
  const all = inTurns(new Array(1_000).keys(), impatientClock(), () => {
    visited++;
  }).then(() => {
    isDone = true;
  });
  for (let before = visited; !isDone; before = visited) {
    await nextTurn();
    most = Math.max(most, visited - before);
  }
  await all;
  assert.equal(visited, 1_000);
  assert.ok(most > 0 && most <= 16, `${most}`);
});

test('things that come and go meanwhile are met as they are', async () => {
  const things = new Map(Array.from({ length: 100 }, (_, n) => [n, n]));
  const seen: number[] = [];
  const all = inTurns(things.values(), impatientClock(), (thing) => void seen.push(thing));
  things.delete(99);
  things.set(100, 100);
  await all;
  assert.ok(!seen.includes(99));
  assert.ok(seen.includes(100));
});

test('a visit that returns false is the last one', async () => {
  const seen: number[] = [];
  await inTurns([1, 2, 3], impatientClock(), (thing) => {
    seen.push(thing);
    return thing < 2;
  });
  assert.deepEqual(seen, [1, 2]);
});
