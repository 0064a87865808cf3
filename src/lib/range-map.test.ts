import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RangeMap } from '#src/lib/range-map.ts';

interface Range {
  readonly first: number;
  readonly last: number;
}
const overlap = (a: Range, b: Range): boolean => a.first <= b.last && b.first <= a.last;

/** `top`: few numbers, so that ranges often meet; or many, so that there are several chunks. */
function play(top: number, steps: number): fc.IPropertyWithHooks<[readonly [boolean, number, number][]]> {
  const step = fc.tuple(fc.boolean(), fc.nat(top), fc.nat(5));
  const some = fc.array(step, { minLength: steps >> 1, maxLength: steps, size: 'max' });
  return fc.property(some, (steps) => {
    const ranges = new RangeMap<number, Range>();
    let model: Range[] = [];
    for (const [adds, first, length] of steps) {
      const range = { first, last: first + length };
      const found = ranges.overlapping(range.first, range.last);
      const expected = model.filter((other) => overlap(other, range));
      assert.deepEqual(found, expected.toSorted((a, b) => a.first - b.first)[0]);
      if (!adds) {
        ranges.delete(first);
        model = model.filter((other) => other.first !== first);
      } else if (found === undefined) {
        ranges.add(range.first, range.last, range);
        model.push(range);
      } else {
        assert.deepEqual(ranges.add(range.first, range.last, range), found);
      }
      assert.equal(ranges.size, model.length);
    }
  });
}

test('what overlaps is what a look at all ranges finds', () => fc.assert(play(60, 200), { numRuns: 200 }));
test('so it is with ranges of several chunks', () => fc.assert(play(20_000, 2_000), { numRuns: 10 }));

test('IPv6 addresses are numbers as well', () => {
  const ranges = new RangeMap<bigint, string>();
  ranges.add(1n << 100n, (1n << 100n) + 9n, 'a');
  assert.equal(ranges.overlapping((1n << 100n) + 9n, 1n << 101n), 'a');
  assert.equal(ranges.overlapping((1n << 100n) + 10n, 1n << 101n), undefined);
});
