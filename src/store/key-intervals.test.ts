import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KeyIntervals } from '#src/store/key-intervals.ts';

const key = fc.uint8Array({ maxLength: 2, max: 3 }).map((bytes) => Buffer.from(bytes));
const interval = fc.record({ from: key, to: key });
const sets = fc.array(fc.array(interval, { maxLength: 5 }), { maxLength: 5 });

test('two sets meet when any interval of the one overlaps any of the other', () => {
  void fc.assert(
    fc.property(sets, sets, (these, those) => {
      const [a, b] = [these, those].map((parts) => {
        const set = KeyIntervals.of([]);
        for (const part of parts) set.add(KeyIntervals.of(part));
        return set;
      });
      const overlap = these
        .flat()
        .some((one) =>
          those
            .flat()
            .some(
              (two) =>
                Buffer.compare(one.from, one.to) < 0 &&
                Buffer.compare(two.from, two.to) < 0 &&
                Buffer.compare(one.from, two.to) < 0 &&
                Buffer.compare(two.from, one.to) < 0,
            ),
        );
      assert.ok(a && b);
      assert.equal(a.meets(b), overlap);
      assert.equal(b.meets(a), overlap);
    }),
    { numRuns: 2000 },
  );
});

test('60,000 intervals, added in 128 parts and one by one, are compared with as many at once', () => {
  const single = (n: number) => {
    const from = Buffer.alloc(4);
    from.writeUInt32BE(n);
    return { from, to: Buffer.concat([from, Buffer.alloc(1)]) };
  };
  const [even, odd] = [0, 1].map((offset) => {
    const set = KeyIntervals.of([]);
    for (let part = 0; part < 128; part++) {
      set.add(KeyIntervals.of(Array.from({ length: 200 }, (_, n) => single((n * 128 + part) * 2 + offset))));
    }
    for (let n = 0; n < 4_000; n++) set.add(KeyIntervals.of([single(1_000_000 + n * 2 + offset)]));
    return set;
  });
  assert.ok(even && odd);
  assert.equal(even.meets(odd), false);
  odd.add(KeyIntervals.of([single(1_000_000)]));
  assert.equal(even.meets(odd), true);
});
