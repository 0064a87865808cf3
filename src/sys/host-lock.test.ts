import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemLocks } from '#src/sys/host-lock.ts';

test('of many that claim a name at once exactly one gets it, and the next one when it is given up', async () => {
  const name = `weft-lock-test-${process.pid}`;
  const claims = await Promise.all(Array.from({ length: 20 }, () => systemLocks.claim(name)));
  const held = claims.filter((release) => release !== undefined);
  assert.equal(held.length, 1);
  assert.equal(await systemLocks.claim(name), undefined);
  assert.notEqual(await systemLocks.claim(`${name}-other`), undefined);
  await held[0]?.();
  const again = await systemLocks.claim(name);
  assert.ok(again);
  await again();
});
