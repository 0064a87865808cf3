import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { feedWatchdog } from '#src/node/watchdog.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

function watchdogUnderTest(watchdogMs: number | undefined, signal: AbortSignal) {
  const clock = new FakeClock();
  const state = { fed: 0, stepMs: 0 };
  const logged: string[] = [];
  const feeding = feedWatchdog(
    {
      clock,
      log: { ...silentLogger, error: (message) => void logged.push(message) },
      serviceManager: { watchdogMs, alive: async () => void state.fed++ },
      stepMs: () => state.stepMs,
    },
    signal,
  );
  feeding.catch(() => {});
  return { clock, state, logged, feeding };
}

test('a sign of life comes twice in the time that systemd waits', async (t) => {
  const { clock, state } = watchdogUnderTest(30_000, t.signal);
  await clock.advance(60_000);
  assert.equal(state.fed, 5);
});

test('there is none while a step of the reconciler does not end, and it is logged once', async (t) => {
  const { clock, state, logged } = watchdogUnderTest(30_000, t.signal);
  await clock.advance(0);
  state.stepMs = 29_000;
  await clock.advance(15_000);
  assert.equal(state.fed, 2);
  state.stepMs = 31_000;
  await clock.advance(30_000);
  assert.equal(state.fed, 2);
  assert.deepEqual(logged, [
    'The kernel has been worked on for 31 s in one step: systemd gets no sign of life until that ends',
  ]);
  state.stepMs = 0;
  await clock.advance(15_000);
  assert.equal(state.fed, 3);
});

test('a service manager that asks for none gets none', async (t) => {
  const { state, feeding, clock } = watchdogUnderTest(undefined, t.signal);
  await feeding;
  assert.deepEqual([state.fed, clock.sleeping], [0, []]);
});
