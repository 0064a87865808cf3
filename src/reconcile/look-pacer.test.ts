import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LookPacer } from '#src/reconcile/look-pacer.ts';

/** The pauses before looks of which each is asked for `everyMs` after the one before, and finds nothing. */
function pauses(pacer: LookPacer, count: number, everyMs: number): number[] {
  let now = 0;
  return Array.from({ length: count }, () => {
    now += everyMs;
    const pause = pacer.delay(now);
    now += pause;
    pacer.looked(now, false);
    return pause;
  });
}

test('pauses grow up to the longest while changes keep coming', () => {
  const grown = [0, 0, 25, 50, 100, 200, 400, 800, 1000, 1000];
  assert.deepEqual(pauses(new LookPacer(1000), grown.length, 40), grown);
});

test('a change that comes alone is looked at without a pause', () => {
  assert.deepEqual(pauses(new LookPacer(1000), 5, 1000), [0, 0, 0, 0, 0]);
});

test('a look that finds something ends the pauses', () => {
  const pacer = new LookPacer(1000);
  pauses(pacer, 9, 40);
  pacer.looked(10_000, true);
  assert.equal(pacer.delay(10_001), 0);
});
