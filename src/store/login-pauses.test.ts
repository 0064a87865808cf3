import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoginPauses } from '#src/store/login-pauses.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Sleeps at once and notes for how long. */
class NotingClock implements Clock {
  readonly slept: number[] = [];
  ms = 0;
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  async sleep(ms: number): Promise<void> {
    this.slept.push(ms);
    this.ms += ms;
  }
}

const wrong = (): never => {
  throw new Error('wrong');
};

test('each failure of an address doubles the pause before its next login; others wait for nothing', async () => {
  const clock = new NotingClock();
  const pauses = new LoginPauses(clock);
  for (let n = 0; n < 12; n++) await assert.rejects(pauses.attempt('10.0.0.1', wrong), /wrong/);
  assert.deepEqual(clock.slept, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  clock.slept.length = 0;
  assert.equal(await pauses.attempt('10.0.0.2', () => 'token'), 'token');
  assert.deepEqual(clock.slept, []);
  assert.equal(await pauses.attempt('10.0.0.1', () => 'token'), 'token');
  assert.deepEqual(clock.slept, [10_000]);
  assert.equal(await pauses.attempt('10.0.0.1', () => 'again'), 'again');
  assert.deepEqual(clock.slept, [10_000], 'a good password ends the pauses');
});

test('logins of one address that come at once go one after the other, and are not kept without bound', async () => {
  const clock = new NotingClock();
  const pauses = new LoginPauses(clock);
  const results = await Promise.allSettled(Array.from({ length: 40 }, () => pauses.attempt('::1', wrong)));
  const reasons = results.map((result) => (result.status === 'rejected' ? result.reason.message : ''));
  assert.equal(reasons.filter((reason) => reason === 'wrong').length, 16);
  assert.equal(reasons.filter((reason) => reason === 'etcdserver: too many requests').length, 24);
  assert.equal(clock.slept.length, 12);
});

test('after a while without failures nothing is held against an address', async () => {
  const clock = new NotingClock();
  const pauses = new LoginPauses(clock);
  for (let n = 0; n < 6; n++) await assert.rejects(pauses.attempt('10.0.0.1', wrong));
  clock.slept.length = 0;
  clock.ms += 300_000;
  await pauses.attempt('10.0.0.1', () => 'token');
  assert.deepEqual(clock.slept, []);
});
