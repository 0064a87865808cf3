import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beatIn, untilBeat } from '#src/sys/beat.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

test('looks that begin at any time, at different intervals, wake at the same moments', async () => {
  const clock = new FakeClock();
  const wakes = new Set<number>();
  const look = async (everyMs: number): Promise<never> => {
    for (;;) {
      await untilBeat(clock, everyMs);
      wakes.add(clock.monotonic());
    }
  };
  for (const [begins, everyMs] of [
    [130, 1_000],
    [410, 2_000],
    [777, 5_000],
  ] as const) {
    await clock.advance(begins - clock.monotonic());
    void look(everyMs);
  }
  await clock.advance(10_500 - clock.monotonic());
  assert.deepEqual(
    [...wakes],
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((second) => second * 1_000),
  );
});

test('a look a moment after a beat, or before one, is followed by one at the next', () => {
  assert.deepEqual(
    [7_000, 7_001, 7_400, 6_999].map((now) => beatIn(now, 1_000)),
    [8_000, 8_000, 8_000, 8_000],
  );
  assert.equal(beatIn(7_003, 3_000), 10_000);
  assert.equal(beatIn(7_010, 200, 200), 7_200);
});

test('a short sleep is as long as it was asked for', async () => {
  const clock = new FakeClock();
  await clock.advance(130);
  let late: number | undefined;
  void untilBeat(clock, 500).then((ms) => {
    late = ms;
  });
  await clock.advance(499);
  assert.equal(late, undefined);
  await clock.advance(1);
  assert.equal(late, 0);
});

test('it says how late it is, and ends with the signal', async () => {
  const clock = new FakeClock();
  const heldUp = { ...methods(clock), sleep: (ms: number) => clock.sleep(ms + 300) };
  const late = untilBeat(heldUp, 1_000);
  await clock.advance(2_000);
  assert.equal(await late, 300);
  await assert.rejects(untilBeat(clock, 1_000, AbortSignal.abort(new Error('over'))), { message: 'over' });
});

const methods = (clock: FakeClock) => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
});
