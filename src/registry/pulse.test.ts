import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Pulse } from '#src/registry/pulse.ts';

function begin(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const log: string[] = [];
  const pulse = new Pulse({
    quietMs: 3_000,
    answerMs: 2_000,
    ask: () => log.push('ask'),
    onSilence: () => log.push('silence'),
  });
  return { log, pulse };
}

test('nothing is asked for while signs of life come', (t) => {
  const { log, pulse } = begin(t);
  for (let i = 0; i < 10; i++) {
    pulse.felt();
    t.mock.timers.tick(2_999);
  }
  assert.deepEqual(log, []);
});

test('a quiet server is asked, and counts as alive once it answers', (t) => {
  const { log, pulse } = begin(t);
  pulse.felt();
  t.mock.timers.tick(3_000);
  assert.deepEqual(log, ['ask']);
  pulse.felt();
  t.mock.timers.tick(2_999);
  assert.equal(pulse.silent, false);
});

test('a server that does not answer is silent, once', async (t) => {
  const { log, pulse } = begin(t);
  pulse.felt();
  t.mock.timers.tick(3_000);
  t.mock.timers.tick(2_000);
  await turn();
  assert.deepEqual(log, ['ask', 'silence']);
  assert.equal(pulse.silent, true);
  t.mock.timers.tick(60_000);
  await turn();
  assert.deepEqual(log, ['ask', 'silence']);
});

test('an answer that is read in the turn in which time ran out still counts', async (t) => {
  const { log, pulse } = begin(t);
  pulse.expect(2_000);
  t.mock.timers.tick(2_000);
  pulse.felt();
  await turn();
  assert.deepEqual(log, []);
  assert.equal(pulse.silent, false);
});

test('a stopped pulse asks for nothing', (t) => {
  const { log, pulse } = begin(t);
  pulse.felt();
  pulse.stop();
  t.mock.timers.tick(60_000);
  assert.deepEqual(log, []);
});
