import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LoopDelay } from '#src/observe/loop-delay.ts';

function holdUp(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test('a loop that nothing holds up is not late by the time between two looks', async (t) => {
  const found: number[] = [];
  // What else the machine does may hold it up now and then, but not each time.
  for (let times = 0; times < 10 && !found.some((ms) => ms < 90); times++) {
    const loop = new LoopDelay();
    t.after(() => loop.stop());
    loop.start();
    await delay(250);
    found.push(loop.take());
    loop.stop();
  }
  assert.ok(
    found.some((ms) => ms < 90),
    found.join(' '),
  );
});

test('take returns how long the loop was held up since the last call', async (t) => {
  const loop = new LoopDelay();
  t.after(() => loop.stop());
  loop.start();
  loop.take();
  await delay(50);
  holdUp(300);
  await delay(50);
  assert.ok(loop.take() >= 200);
  assert.equal(loop.take(), 0);
});

test('a delay during the fine measurement is still reported after it', async (t) => {
  const loop = new LoopDelay({ attentionMs: 400 });
  t.after(() => loop.stop());
  loop.start();
  loop.take();
  await delay(50);
  holdUp(300);
  await delay(500);
  assert.ok(loop.take() >= 200);
});
