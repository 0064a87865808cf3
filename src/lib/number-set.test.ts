import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NumberSet } from '#src/lib/number-set.ts';

for (const [what, size] of [
  ['few numbers', 1_000],
  ['more numbers than have a bit each', 2 ** 40],
] as const) {
  test(`of ${what} it holds what a Set holds`, () => {
    fc.assert(
      fc.property(fc.array(fc.nat(size - 1)), fc.array(fc.nat(size - 1)), (numbers, others) => {
        const set = new NumberSet(size);
        for (const number of numbers) set.add(number);
        const slow = new Set(numbers);
        assert.equal(set.count, slow.size);
        for (const number of [...numbers, ...others]) assert.equal(set.has(number), slow.has(number));
      }),
    );
  });
}

test('a number beyond the size is not there', () => {
  const set = new NumberSet(64);
  set.add(63);
  assert.ok(set.has(63));
  assert.ok(!set.has(64) && !set.has(1_000));
});
