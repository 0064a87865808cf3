import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OutputAccount } from '#src/store/output-account.ts';

test('an account over its limit is congested until half of it is free again', () => {
  const account = new OutputAccount(10_000);
  const taken = [account.sent(6_000), account.sent(3_000)];
  assert.equal(account.congested, false);
  taken.push(account.sent(3_000));
  assert.equal(account.congested, true);
  taken[1]?.();
  assert.equal(account.congested, true, 'more than half is untaken');
  taken[0]?.();
  assert.equal(account.congested, false);
  taken[0]?.();
  taken[2]?.();
  assert.equal(account.untaken, 0, 'a message is taken once');
});

test('what waits runs when every account above is clear, in order, and only as far as there is room', () => {
  const total = new OutputAccount(10_000);
  const [first, second] = [new OutputAccount(5_000, total), new OutputAccount(5_000, total)];
  const done: string[] = [];
  const fill = first.sent(12_000);
  const own = second.sent(6_000);
  assert.equal(second.congested, true);
  let next: (() => void) | undefined;
  second.whenClear(() => done.push('a'));
  second.whenClear(() => {
    done.push('b');
    next = second.sent(8_000);
  });
  second.whenClear(() => done.push('c'));
  own();
  assert.deepEqual(done, [], 'the whole is still congested');
  fill();
  assert.deepEqual(done, ['a', 'b']);
  next?.();
  assert.deepEqual(done, ['a', 'b', 'c']);
});
