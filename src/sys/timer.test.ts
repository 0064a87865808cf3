import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import {
  deadlineIn,
  runningClock,
  runningDeadlineIn,
  startInterval,
  startSilenceTimer,
  startTimer,
} from '#src/sys/timer.ts';
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

/** Keeps this process from running, as a busy host does. */
const holdUp = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test('a running deadline does not count the time in which this process could not run', async () => {
  const held = runningDeadlineIn(400);
  const plain = deadlineIn(400);
  holdUp(600);
  await systemClock.sleep(1);
  assert.equal(plain.aborted, true);
  assert.equal(held.aborted, false);
  await until(() => held.aborted, { what: 'deadline' });
  assert.equal(held.reason.name, 'TimeoutError');
  const stopper = new AbortController();
  const given = runningDeadlineIn(3_600_000, stopper.signal);
  stopper.abort();
  assert.equal(given.reason.name, 'AbortError');
});

test('a running deadline ends after three times its length in any case', async () => {
  const held = runningDeadlineIn(20);
  holdUp(100);
  await systemClock.sleep(30);
  assert.equal(held.aborted, true);
});

test('a silence begins again with each progress, and is called once', async () => {
  let [bytes, calls] = [0, 0];
  const timer = startSilenceTimer(
    40,
    () => bytes,
    () => void calls++,
  );
  const comes = setInterval(() => void bytes++, 1);
  await systemClock.sleep(200);
  assert.equal(calls, 0);
  clearInterval(comes);
  await until(() => calls === 1, { what: 'silence' });
  timer.stop();
});

test('a running clock sleeps by the time in which this process could run', async () => {
  const order: string[] = [];
  const { signal } = new AbortController();
  const sleeps = [
    runningClock(systemClock)
      .sleep(400, signal)
      .then(() => order.push('running')),
    systemClock.sleep(450).then(() => order.push('plain')),
  ];
  holdUp(600);
  await Promise.all(sleeps);
  assert.deepEqual(order, ['plain', 'running']);
  const stopper = new AbortController();
  const stopped = runningClock(systemClock).sleep(3_600_000, stopper.signal);
  stopper.abort('over');
  await assert.rejects(stopped, (reason) => reason === 'over');
  await assert.rejects(runningClock(systemClock).sleep(1, stopper.signal), (reason) => reason === 'over');
});

test('a running deadline that is over leaves nothing at a signal that lives on', async () => {
  const { signal } = new AbortController();
  const before = getEventListeners(signal, 'abort').length;
  const deadline = runningDeadlineIn(5, signal);
  assert.equal(getEventListeners(signal, 'abort').length, before + 1);
  await until(() => deadline.aborted, { what: 'deadline' });
  assert.equal(getEventListeners(signal, 'abort').length, before);
});
