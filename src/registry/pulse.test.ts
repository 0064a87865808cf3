import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pulse } from '#src/registry/pulse.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const QUIET_MS = 3_000;
const ANSWER_MS = 2_000;

function begin() {
  const clock = new FakeClock();
  const log: string[] = [];
  const pulse = new Pulse(clock, {
    answerMs: ANSWER_MS,
    ask: () => log.push('ask'),
    onSilence: () => log.push('silence'),
  });
  return { clock, log, pulse };
}

test('nothing is asked for while signs of life come', async () => {
  const { clock, log, pulse } = begin();
  for (let i = 0; i < 10; i++) {
    pulse.felt(QUIET_MS);
    await clock.advance(QUIET_MS - 1);
  }
  assert.deepEqual(log, []);
});

test('a quiet server is asked, and counts as alive once it answers', async () => {
  const { clock, log, pulse } = begin();
  pulse.felt(QUIET_MS);
  await clock.advance(QUIET_MS);
  assert.deepEqual(log, ['ask']);
  pulse.felt(QUIET_MS);
  await clock.advance(QUIET_MS - 1);
  assert.equal(pulse.silent, false);
});

test('an answer that comes within the question counts', async () => {
  const clock = new FakeClock();
  const log: string[] = [];
  const pulse: Pulse = new Pulse(clock, {
    answerMs: ANSWER_MS,
    ask: () => pulse.felt(QUIET_MS),
    onSilence: () => log.push('silence'),
  });
  pulse.felt(QUIET_MS);
  await clock.advance(10 * QUIET_MS);
  assert.deepEqual(log, []);
});

test('a server that does not answer is silent, once', async () => {
  const { clock, log, pulse } = begin();
  pulse.felt(QUIET_MS);
  await clock.advance(QUIET_MS);
  await clock.advance(ANSWER_MS);
  assert.deepEqual(log, ['ask', 'silence']);
  assert.equal(pulse.silent, true);
  await clock.advance(60_000);
  assert.deepEqual(log, ['ask', 'silence']);
});

test('an answer that is read in the turn in which time ran out still counts', async () => {
  // Nothing happens between the timer and the answer.
  const clock = new FakeClock({ settle: async () => {} });
  const log: string[] = [];
  const pulse = new Pulse(clock, {
    answerMs: ANSWER_MS,
    ask: () => {},
    onSilence: () => log.push('silence'),
  });
  pulse.expect(ANSWER_MS);
  await clock.advance(ANSWER_MS);
  pulse.felt(QUIET_MS);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(log, []);
  assert.equal(pulse.silent, false);
});

test('a stopped pulse asks for nothing', async () => {
  const { clock, log, pulse } = begin();
  pulse.felt(QUIET_MS);
  pulse.stop();
  await clock.advance(60_000);
  assert.deepEqual(log, []);
});

test('a sign of life ends no sleep, and an earlier time does', async () => {
  const { clock, log, pulse } = begin();
  let sleeps = 0;
  const sleep = clock.sleep.bind(clock);
  clock.sleep = (ms, signal) => {
    sleeps++;
    return sleep(ms, signal);
  };
  for (let i = 0; i < 100; i++) {
    pulse.pause();
    pulse.felt(QUIET_MS);
    await clock.advance(1);
  }
  assert.equal(sleeps, 1);
  pulse.expect(ANSWER_MS);
  assert.deepEqual(clock.sleeping, [ANSWER_MS]);
  await clock.advance(ANSWER_MS);
  assert.deepEqual(log, ['silence']);
});

test('a paused pulse expects nothing, and a stopped one leaves no timer', async () => {
  const { clock, log, pulse } = begin();
  pulse.expect(ANSWER_MS);
  pulse.pause();
  await clock.advance(60_000);
  assert.deepEqual(log, []);
  pulse.felt(QUIET_MS);
  pulse.stop();
  assert.deepEqual(clock.sleeping, []);
});
