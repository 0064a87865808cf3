import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoopDelay } from '#src/observe/loop-delay.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/** A loop whose delays the test makes: each counts for the measurement that runs. */
function loopUnderTest() {
  const clock = new FakeClock();
  const running = new Map<symbol, { everyMs: number; worst: number }>();
  const measure = (everyMs: number) => {
    const key = Symbol();
    const state = { everyMs, worst: 0 };
    running.set(key, state);
    return { worst: () => state.worst, stop: () => void running.delete(key) };
  };
  const holdUp = (ms: number): void => {
    for (const state of running.values()) state.worst = Math.max(state.worst, ms);
  };
  const resolutions = (): number[] => Array.from(running.values(), ({ everyMs }) => everyMs);
  return { loop: new LoopDelay({ clock, measure }), clock, holdUp, resolutions };
}

test('take returns the longest delay since the last call', () => {
  const { loop, holdUp } = loopUnderTest();
  loop.start();
  holdUp(300);
  holdUp(200);
  assert.equal(loop.take(), 300);
  assert.equal(loop.take(), 0);
});

test('the measurement is fine for two seconds after a question, and one runs at a time', async () => {
  const { loop, clock, resolutions } = loopUnderTest();
  loop.start();
  assert.deepEqual(resolutions(), [500]);
  loop.take();
  assert.deepEqual(resolutions(), [10]);
  await clock.advance(1_500);
  loop.take();
  await clock.advance(1_999);
  assert.deepEqual(resolutions(), [10]);
  await clock.advance(1);
  assert.deepEqual(resolutions(), [500]);
  loop.take();
  loop.stop();
  assert.deepEqual([resolutions(), clock.sleeping], [[], []]);
});

test('a delay during the fine measurement is still reported after it', async () => {
  const { loop, clock, holdUp } = loopUnderTest();
  loop.start();
  loop.take();
  holdUp(300);
  await clock.advance(2_000);
  assert.equal(loop.take(), 300);
});
