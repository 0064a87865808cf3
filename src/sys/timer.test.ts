import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { startInterval, startTimer } from '#src/sys/timer.ts';

test('a timer calls once, and not at all when it is stopped', async () => {
  const clock = new FakeClock();
  const calls: string[] = [];
  startTimer(clock, 10, () => calls.push('a'));
  const stopped = startTimer(clock, 10, () => calls.push('b'));
  stopped.stop();
  stopped.stop();
  await clock.advance(100);
  assert.deepEqual(calls, ['a']);
  assert.deepEqual(clock.sleeping, []);
});

test('an interval calls until it is stopped, also from inside the call', async () => {
  const clock = new FakeClock();
  const calls: number[] = [];
  const timer = startInterval(clock, 10, () => {
    calls.push(clock.monotonic());
    if (calls.length === 3) timer.stop();
  });
  await clock.advance(100);
  assert.deepEqual(calls, [10, 20, 30]);
  assert.deepEqual(clock.sleeping, []);
});
