import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoopDelay } from '#src/observe/loop-delay.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/** A loop whose delays the test makes: each makes the sleep late that is under way, and counts for the measurement that runs. */
function loopUnderTest() {
  const clock = new FakeClock();
  const running = new Map<symbol, { everyMs: number; worst: number }>();
  const measure = (everyMs: number) => {
    const key = Symbol();
    const state = { everyMs, worst: 0 };
    running.set(key, state);
    return { worst: () => state.worst, stop: () => void running.delete(key) };
  };
  let late = 0;
  const lateClock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: async (ms: number, signal?: AbortSignal) => {
      await clock.sleep(ms, signal);
      const more = late;
      late = 0;
      if (more > 0) await clock.sleep(more, signal);
    },
  };
  const holdUp = (ms: number): void => {
    late = ms;
    for (const state of running.values()) state.worst = Math.max(state.worst, ms);
  };
  const resolutions = (): number[] => Array.from(running.values(), ({ everyMs }) => everyMs);
  return { loop: new LoopDelay({ clock: lateClock, measure }), clock, holdUp, resolutions };
}

test('take returns the longest delay since the last call', async () => {
  const { loop, clock, holdUp } = loopUnderTest();
  loop.start();
  holdUp(300);
  await clock.advance(2_000);
  holdUp(200);
  await clock.advance(2_000);
  assert.equal(loop.take(), 300);
  assert.equal(loop.take(), 0);
});

test('the measurement is fine for two seconds after a question, and there is none of its own before', async () => {
  const { loop, clock, resolutions } = loopUnderTest();
  loop.start();
  assert.deepEqual([resolutions(), clock.sleeping], [[], [1_000]]);
  loop.take();
  assert.deepEqual(resolutions(), [10]);
  await clock.advance(1_500);
  loop.take();
  await clock.advance(1_999);
  assert.deepEqual(resolutions(), [10]);
  await clock.advance(1);
  assert.deepEqual(resolutions(), []);
  loop.take();
  loop.stop();
  assert.deepEqual([resolutions(), clock.sleeping], [[], []]);
});

test('a delay during the fine measurement is still reported after it', async () => {
  const { loop, clock, holdUp } = loopUnderTest();
  loop.start();
  loop.take();
  holdUp(300);
  await clock.advance(2_500);
  assert.equal(loop.take(), 300);
});
