import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Budget } from '#src/diagnose/probes/budget.ts';

test('no second has more packets than the budget and one burst', () => {
  const asked = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 50 })), {
    minLength: 50,
    maxLength: 300,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), asked, (perSecond, steps) => {
      const budget = new Budget(perSecond, 0);
      const taken: { at: number; packets: number }[] = [];
      let now = 0;
      for (const [packets, pause] of steps) {
        now += pause;
        if (budget.take(packets, now)) taken.push({ at: now, packets });
      }
      // A step may go one step into debt.
      const burst = Math.max(4, perSecond * 0.2) + 9;
      for (const { at } of taken) {
        const within = taken.filter((other) => other.at >= at && other.at < at + 1000);
        const packets = within.reduce((sum, other) => sum + other.packets, 0);
        assert.ok(packets <= perSecond + burst, `${packets} packets of ${perSecond}`);
      }
    }),
  );
});

test('a pause earns no more than one burst', () => {
  const budget = new Budget(50, 0);
  let taken = 0;
  while (budget.take(1, 3_600_000)) taken++;
  assert.equal(taken, 10);
  assert.equal(budget.take(1, 3_600_010), false);
  assert.equal(budget.take(1, 3_600_020), true);
});
