import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InOrder } from '#src/lib/in-order.ts';

test('steps run in order, one at a time, whatever each waits for', async () => {
  const order = new InOrder();
  const first = Promise.withResolvers<void>();
  const log: string[] = [];
  const one = order.run(async () => {
    log.push('one begins');
    await first.promise;
    log.push('one ends');
    return 1;
  });
  const two = order.run(async () => {
    log.push('two');
    return 2;
  });
  assert.equal(order.waiting, 2);
  first.resolve();
  assert.deepEqual(await Promise.all([one, two]), [1, 2]);
  assert.deepEqual(log, ['one begins', 'one ends', 'two']);
  await order.idle();
  assert.equal(order.waiting, 0);
});

test('a step that fails rejects its own promise, and the next one runs', async () => {
  const order = new InOrder();
  const failing = order.run(async () => {
    throw new Error('no');
  });
  const next = order.run(async () => 'yes');
  await assert.rejects(failing, /no/);
  assert.equal(await next, 'yes');
});
