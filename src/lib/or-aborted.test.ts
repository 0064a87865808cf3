import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { orAborted } from '#src/lib/or-aborted.ts';

test('is as the promise, or rejects with the signal’s reason', async () => {
  const stop = new AbortController();
  assert.equal(await orAborted(Promise.resolve(1), stop.signal), 1);
  await assert.rejects(orAborted(Promise.reject(new Error('failed')), stop.signal), { message: 'failed' });
  const never = orAborted(new Promise(() => {}), stop.signal);
  stop.abort(new Error('over'));
  await assert.rejects(never, { message: 'over' });
});

test('after the signal has aborted, no rejection of the promise is left unhandled', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    const reason = new Error('over');
    const rejected = orAborted(Promise.race([Promise.reject(reason)]), AbortSignal.abort(reason));
    await assert.rejects(rejected, reason);
    await nextTurn();
    assert.deepEqual(unhandled, []);
  } finally {
    process.off('unhandledRejection', note);
  }
});
