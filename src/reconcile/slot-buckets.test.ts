import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SlotBuckets } from '#src/reconcile/slot-buckets.ts';
import { KINDS, keyOf } from '#src/state/object.ts';
import { anyObject } from '../../test/support/any-object.ts';

test('buckets find what a map by key would, whatever is added and removed', () => {
  const step = fc.record({ add: fc.boolean(), object: anyObject });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const buckets = new SlotBuckets(KINDS);
      const keys = new Set<string>();
      for (const { add, object } of steps) {
        const slot = buckets.find(object);
        assert.equal(slot !== undefined, keys.has(keyOf(object)));
        if (add && slot === undefined) {
          assert.equal(buckets.add(object).object, object);
          keys.add(keyOf(object));
        } else if (!add && slot !== undefined) {
          buckets.remove(slot);
          keys.delete(keyOf(object));
        }
      }
      const found = Array.from(buckets, ({ object }) => keyOf(object));
      assert.deepEqual(found.sort(), [...keys].sort());
      const each: string[] = [];
      buckets.each(({ object }) => each.push(keyOf(object)));
      assert.deepEqual(each.sort(), found);
      const neighbours: string[] = [];
      buckets.eachOf('neighbour', ({ object }) => neighbours.push(keyOf(object)));
      assert.deepEqual(
        neighbours.sort(),
        found.filter((key) => key.startsWith('neighbour ')),
      );
    }),
  );
});
