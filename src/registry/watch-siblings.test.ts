import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pulse } from '#src/registry/pulse.ts';
import { WatchSiblings } from '#src/registry/watch-siblings.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const SECOND = 1_000;

/** So many quiet watches, each of which asks after what the siblings say, or after 3 s. */
function watches(count: number) {
  const clock = new FakeClock();
  const siblings = new WatchSiblings();
  let asked = 0;
  const silent: number[] = [];
  const all = Array.from({ length: count }, (_, n) => {
    const felt = (): void => pulse.felt(Math.max(3 * SECOND, siblings.quietMs));
    const pulse: Pulse = new Pulse(clock, {
      answerMs: 2 * SECOND,
      ask: () => {
        asked++;
        if (isAlive) felt();
      },
      onSilence: () => {
        silent.push(n);
        siblings.alarm();
      },
    });
    siblings.join(() => pulse.askNow());
    return { felt };
  });
  let isAlive = true;
  for (const { felt } of all) felt();
  return {
    clock,
    silent,
    freeze: () => {
      isAlive = false;
    },
    asked: () => asked,
  };
}

test('many watches ask no more often together than a hundred networks do', async () => {
  for (const [count, expected] of [
    [2, 2],
    [200, 200],
    [2_000, 200],
  ] as const) {
    const { clock, asked } = watches(count);
    await clock.advance(60 * SECOND);
    const each3s = asked() / 20;
    assert.ok(each3s <= expected * 1.2 && each3s >= expected * 0.5, `${count}: ${each3s} each 3 s`);
  }
});

test('when one has no answer, all ask at once', async () => {
  const { clock, silent, freeze } = watches(2_000);
  await clock.advance(10 * SECOND);
  freeze();
  for (let waited = 0; silent.length === 0 && waited < 40; waited++) await clock.advance(SECOND);
  assert.ok(silent.length > 0);
  await clock.advance(2 * SECOND);
  await clock.advance(SECOND);
  assert.equal(new Set(silent).size, 2_000);
});
