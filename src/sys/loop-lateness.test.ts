import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { measureLoop } from '#src/sys/loop-lateness.ts';

const HELD_UP_MS = 300;
const EVERY_MS = 10;

test('a loop that was held up is late by about that long', async () => {
  const lateness = measureLoop(EVERY_MS);
  assert.equal(lateness.worst(), 0);
  await delay(5 * EVERY_MS);
  for (const end = performance.now() + HELD_UP_MS; performance.now() < end; );
  await delay(5 * EVERY_MS);
  lateness.stop();
  assert.ok(lateness.worst() >= HELD_UP_MS - 2 * EVERY_MS, `${lateness.worst()}`);
});
