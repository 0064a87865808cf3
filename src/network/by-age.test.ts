import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { byAge } from '#src/network/by-age.ts';
import type { RawLease } from '#src/network/lease-rules.ts';

const record = (n: number, created: number): RawLease => ({
  name: `10.5.${n}.0-24`,
  value: '{}',
  revision: 99n,
  created: BigInt(created),
  expiry: { kind: 'reservation' },
});

test('records come in the order of their creation, then of their names, in slices', () => {
  // Now and then more than one run.
  const ages = fc.array(fc.nat(50), { maxLength: 200 }).chain((ages) => {
    const many = Array.from({ length: 60 }, () => ages).flat();
    return fc.constantFrom(ages, many);
  });
  fc.assert(
    fc.property(ages, fc.integer({ min: 1, max: 300 }), (ages, slice) => {
      const raws = ages.map((age, n) => record(n, age));
      const slices = [...byAge(raws, slice)];
      const expected = raws.toSorted(
        (a, b) => Number((a.created ?? 0n) - (b.created ?? 0n)) || (a.name < b.name ? -1 : 1),
      );
      assert.deepEqual(slices.flat(), expected);
      assert.ok(slices.every(({ length }) => length <= slice));
    }),
  );
});

test('between two sorted runs other work has its turn', () => {
  const raws = Array.from({ length: 10_000 }, (_, n) => record(n, 10_000 - n));
  const lengths = Array.from(byAge(raws, 1_000), ({ length }) => length);
  assert.deepEqual(lengths, [0, 0, 0, 0, ...Array.from({ length: 10 }, () => 1_000)]);
});
