import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { systemClock } from '#src/sys/clock.ts';

const DAY_MS = 86_400_000;

test('a sleep ends by itself, and leaves no listener', async () => {
  const { signal } = new AbortController();
  await systemClock.sleep(1, signal);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a sleep whose signal aborts rejects with the very reason, before and after it began', async () => {
  const stop = new AbortController();
  const sleeping = systemClock.sleep(DAY_MS, stop.signal);
  stop.abort('enough');
  await assert.rejects(sleeping, (reason) => reason === 'enough');
  await assert.rejects(systemClock.sleep(DAY_MS, stop.signal), (reason) => reason === 'enough');
});
