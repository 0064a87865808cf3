import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockMap } from '#src/lib/block-map.ts';

interface Range {
  readonly first: number;
  readonly last: number;
}
const BITS = 3;
const SIZE = 2 ** BITS;
const overlap = (a: Range, b: Range): boolean => a.first <= b.last && b.first <= a.last;
const isBlock = ({ first, last }: Range): boolean => first % SIZE === 0 && last - first === SIZE - 1;

/** Blocks, parts of blocks, and ranges over several; addresses below 2^32 and above 2^31 as well. */
const anyRange: fc.Arbitrary<Range> = fc
  .record({
    base: fc.constantFrom(0, 0x0a000000, 0xfffffe00),
    offset: fc.nat(200),
    length: fc.nat(40),
    block: fc.boolean(),
  })
  .map(({ base, offset, length, block }) => {
    const first = block ? base + offset - (offset % SIZE) : base + offset;
    return { first, last: first + (block ? SIZE : length + 1) - 1 };
  });

test('what overlaps is what a look at all ranges finds, blocks first', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), anyRange), { minLength: 50, maxLength: 200 }), (steps) => {
      const ranges = new BlockMap<Range>(BITS);
      let model: Range[] = [];
      for (const [adds, range] of steps) {
        const [expected] = model
          .filter((other) => overlap(other, range))
          .toSorted((a, b) => Number(isBlock(b)) - Number(isBlock(a)) || a.first - b.first);
        assert.equal(ranges.overlapping(range.first, range.last), expected);
        if (!adds) {
          ranges.delete(range.first);
          model = model.filter(({ first }) => first !== range.first);
        } else {
          assert.equal(ranges.add(range.first, range.last, range), expected);
          if (expected === undefined) model.push(range);
        }
        assert.equal(ranges.size, model.length);
      }
    }),
  );
});
