import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Heap } from '#src/lib/heap.ts';

test('an empty heap has no first item', () => {
  const heap = new Heap<number>((a, b) => a - b);
  assert.deepEqual([heap.size, heap.peek(), heap.pop()], [0, undefined, undefined]);
});

test('after any pushes and pops the least of the remaining items comes first', () => {
  const steps = fc.array(fc.option(fc.nat(20), { nil: 'pop' as const }), { maxLength: 200 });
  fc.assert(
    fc.property(fc.array(fc.nat(20)), steps, (given, steps) => {
      const heap = new Heap<number>((a, b) => a - b, given);
      let model = given.toSorted((a, b) => a - b);
      for (const step of steps) {
        if (step === 'pop') assert.equal(heap.pop(), model.shift());
        else {
          heap.push(step);
          model = [...model, step].sort((a, b) => a - b);
        }
        assert.deepEqual([heap.size, heap.peek()], [model.length, model[0]]);
        assert.deepEqual(
          [...heap.values()].sort((a, b) => a - b),
          model,
        );
      }
    }),
  );
});
