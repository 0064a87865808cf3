import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#src/sys/fake-clock.ts';

test('sleeps end in the order of their times, and only when time comes there', async () => {
  const clock = new FakeClock({ epoch: 1_000 });
  const woke: string[] = [];
  const sleep = (name: string, ms: number) => clock.sleep(ms).then(() => woke.push(`${name} ${clock.now()}`));
  void sleep('c', 30);
  void sleep('a', 10);
  void sleep('b', 10);
  void sleep('never', 1_000);
  await clock.advance(9);
  assert.deepEqual(woke, []);
  await clock.advance(30);
  assert.deepEqual(woke, ['a 1010', 'b 1010', 'c 1030']);
  assert.deepEqual([clock.now(), clock.monotonic(), clock.sleeping], [1_039, 39, [961]]);
});

test('a sleeper that sleeps again at once is woken in the same advance', async () => {
  const clock = new FakeClock();
  const ticks: number[] = [];
  const tick = async () => {
    for (;;) {
      await clock.sleep(10);
      ticks.push(clock.monotonic());
    }
  };
  void tick();
  await clock.advance(35);
  assert.deepEqual(ticks, [10, 20, 30]);
});

test('an abort ends a sleep with its reason', async () => {
  const clock = new FakeClock();
  const stopper = new AbortController();
  const sleep = clock.sleep(10, stopper.signal);
  stopper.abort(new Error('stopped'));
  await assert.rejects(sleep, /stopped/);
  await assert.rejects(clock.sleep(10, stopper.signal), /stopped/);
  assert.deepEqual(clock.sleeping, []);
});

test('wall time may be set, and monotonic time goes on', () => {
  const clock = new FakeClock({ epoch: 1_000 });
  clock.setWallTime(-500);
  assert.deepEqual([clock.now(), clock.monotonic()], [500, 0]);
});
