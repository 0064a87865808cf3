import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '#src/lib/log.ts';
import { Departures } from '#src/membership/departures.ts';

const MISSING_MS = 30_000;
const REMOVED_MS = 1_000;

const start = (): Departures => new Departures({ log: silentLogger });

test('a peer that a list lacks goes after the grace period, not before', () => {
  const departures = start();
  departures.missing(['a', 'b'], 5_000);
  assert.equal(departures.nextDue, 35_000);
  assert.deepEqual(departures.due(34_999), []);
  assert.deepEqual(departures.due(35_000), ['a', 'b']);
  assert.equal(departures.nextDue, undefined);
});

test('one that shows itself again stays', () => {
  const departures = start();
  departures.missing(['a', 'b'], 0);
  departures.cancel('a');
  assert.deepEqual(departures.due(60_000), ['b']);
});

test('one that the next list lacks as well keeps its deadline, one that it names again stays', () => {
  const departures = start();
  departures.missing(['a', 'b'], 0);
  departures.missing(['a', 'c'], 20_000);
  assert.deepEqual(departures.due(30_000), ['a']);
  assert.deepEqual(departures.due(50_000), ['c']);
});

test('one that was removed has a second to claim its lease again, also when a list lacks it then', () => {
  const departures = start();
  departures.removed(['a', 'b'], 0);
  departures.cancel('a');
  departures.missing(['b'], 990);
  assert.equal(departures.nextDue, 1_000);
  assert.deepEqual(departures.due(1_000), ['b']);
});

test('one that was missing and is removed goes at the earlier of the two deadlines', () => {
  const departures = start();
  departures.missing(['a', 'b'], 0);
  departures.removed(['a'], 10_000);
  departures.removed(['b'], 29_500);
  assert.deepEqual(departures.due(11_000), ['a']);
  assert.deepEqual(departures.due(30_000), ['b']);
});

test('one that comes back and is removed again has its whole second again', () => {
  const departures = start();
  departures.removed(['a'], 0);
  departures.cancel('a');
  departures.removed(['a'], 900);
  assert.deepEqual(departures.due(1_400), []);
  assert.deepEqual(departures.due(1_900), ['a']);
});

test('a due name is handed out once', () => {
  const departures = start();
  departures.removed(['a'], 0);
  assert.deepEqual(departures.due(2_000), ['a']);
  assert.deepEqual(departures.due(3_000), []);
});

test('whatever comes in whatever order, each name goes at the deadline that a plain table says', () => {
  const names = fc.subarray(['a', 'b', 'c', 'd', 'e']);
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 20_000 }),
    act: fc.oneof(
      fc.record({ missing: names }),
      fc.record({ removed: names }),
      fc.record({ cancel: fc.constantFrom('a', 'b', 'c', 'd', 'e') }),
      fc.record({ due: fc.constant(true) }),
    ),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const departures = start();
      const table = new Map<string, number>();
      let now = 0;
      for (const { wait, act } of steps) {
        now += wait;
        if ('missing' in act) {
          departures.missing(act.missing, now);
          for (const name of table.keys()) if (!act.missing.includes(name)) table.delete(name);
          for (const name of act.missing) table.set(name, table.get(name) ?? now + MISSING_MS);
        } else if ('removed' in act) {
          departures.removed(act.removed, now);
          for (const name of act.removed)
            table.set(name, Math.min(table.get(name) ?? Infinity, now + REMOVED_MS));
        } else if ('cancel' in act) {
          departures.cancel(act.cancel);
          table.delete(act.cancel);
        } else {
          const due = [...table].filter(([, at]) => at <= now).map(([name]) => name);
          for (const name of due) table.delete(name);
          assert.deepEqual(departures.due(now).sort(), due.sort());
        }
        assert.equal(departures.nextDue, table.size === 0 ? undefined : Math.min(...table.values()));
      }
    }),
  );
});

test('the names may come from anywhere: nothing is searched for in them', () => {
  const departures = start();
  const names = function* (): Generator<string> {
    for (let n = 0; n < 50_000; n++) yield `10.${n >> 8}.${n & 255}.0-24`;
  };
  departures.missing(names(), 0);
  departures.missing(names(), 1_000);
  assert.equal(departures.due(29_999).length, 0);
  assert.deepEqual(departures.due(30_000), [...names()]);
});
