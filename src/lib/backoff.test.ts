import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '#src/lib/backoff.ts';

const longest = { random: () => 1 };

test('pauses double up to the cap and stay there', () => {
  const backoff = new Backoff(longest, { baseMs: 200, capMs: 5_000 });
  const pauses = Array.from({ length: 8 }, () => backoff.next());
  assert.deepEqual(pauses, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
});

test('after a reset the pauses are short again', () => {
  const backoff = new Backoff(longest, { baseMs: 200, capMs: 5_000 });
  for (let i = 0; i < 2_000; i++) backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 200);
});

test('a pause is drawn from the whole range', () => {
  const backoff = new Backoff({ random: () => 0.25 }, { baseMs: 200, capMs: 5_000 });
  assert.deepEqual([backoff.next(), backoff.next()], [50, 100]);
});
