import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LoopDelay } from '#src/observe/loop-delay.ts';

function holdUp(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test('tells how long the loop was held up since it was asked last', async (t) => {
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
