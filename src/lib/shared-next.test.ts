import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedNext } from '#src/lib/shared-next.ts';

test('calls during a run share the next one, and each begins after it was asked for', async () => {
  let begun = 0;
  let release = Promise.withResolvers<void>();
  const shared = new SharedNext(async () => {
    const mine = ++begun;
    await release.promise;
    return mine;
  });
  const first = [shared.call(), shared.call()];
  await Promise.resolve();
  const later = Array.from({ length: 100 }, () => shared.call());
  release.resolve();
  release = Promise.withResolvers();
  assert.deepEqual(await Promise.all(first), [1, 1]);
  release.resolve();
  assert.deepEqual(new Set(await Promise.all(later)), new Set([2]));
  assert.equal(await shared.call(), 3);
});

test('a run that fails does not keep the next one from beginning', async () => {
  let runs = 0;
  const shared = new SharedNext(async () => {
    if (++runs === 1) throw new Error('no');
    return runs;
  });
  await assert.rejects(shared.call(), /no/);
  assert.equal(await shared.call(), 2);
});
