import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MtuSearch } from '#src/diagnose/probes/mtu-search.ts';

/** The sizes that are tried on a way with this MTU, where each packet is lost that `loses` says. */
function searchOn(
  mtu: number,
  { passes = 60, fails = 1450, loses = (_attempt: number): boolean => false } = {},
) {
  const search = new MtuSearch(passes, fails);
  const tried: number[] = [];
  for (let size = search.next; size !== undefined; size = search.next) {
    search.note(size <= mtu && !loses(tried.length));
    tried.push(size);
  }
  return { found: search.passes, tried };
}

test('the largest size that passes is found, whichever it is', () => {
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 1449 }), (mtu) => {
      const { found, tried } = searchOn(mtu);
      assert.equal(found, mtu);
      assert.ok(tried.length <= 22, `${tried.length} packets`);
    }),
  );
});

test('one loss does not make a size too large', () => {
  for (let lost = 0; lost < 12; lost++)
    assert.equal(searchOn(1350, { loses: (attempt) => attempt === lost }).found, 1350);
});
