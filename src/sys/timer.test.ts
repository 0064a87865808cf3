import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { deadlineIn, startInterval, startTimer } from '#src/sys/timer.ts';
import { until } from '#src/sys/until.ts';

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

test('a deadline comes by itself, or with the given signal', async () => {
  const soon = deadlineIn(1);
  // A deadline does not keep the process alive; the wait does.
  await until(() => soon.aborted, { what: 'deadline' });
  assert.equal(soon.reason.name, 'TimeoutError');
  const stopper = new AbortController();
  const late = deadlineIn(3_600_000, stopper.signal);
  assert.equal(late.aborted, false);
  stopper.abort();
  assert.equal(late.reason.name, 'AbortError');
});
