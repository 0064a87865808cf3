import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ipv4 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { Holding } from '#src/reconcile/holding.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import { SlotTable } from '#src/reconcile/slot-table.ts';
import { NEIGHBOUR } from '#src/state/kinds/neighbour.ts';
import { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, keyOf, type Neighbour } from '#src/state/object.ts';
import { anyObject } from '../../test/support/any-object.ts';

const mac = (n: number) => macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n));
const neighbour = (n: number, macNumber = n): Neighbour => ({
  kind: 'neighbour',
  ip: ipv4(n),
  mac: mac(macNumber),
  device: 'flannel.1',
  permanent: true,
});

const object = anyObject;

test('the table holds what two maps by key would, through changes, looks and withdrawals', () => {
  const subject = fc.constantFrom('a', 'b', 'c');
  const step = fc.oneof(
    fc.record({ do: fc.constant('want' as const), subject, objects: fc.array(object, { maxLength: 4 }) }),
    fc.record({ do: fc.constant('put' as const), object }),
    fc.record({ do: fc.constant('clear' as const), object }),
    fc.record({ do: fc.constant('look' as const), objects: fc.array(object, { maxLength: 6 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const table = new SlotTable();
      const holding = new Holding({ name: 'network', scopes: () => [] });
      const wanted = new Map<string, { subject: string; object: KernelObject }>();
      const found = new Map<string, KernelObject>();
      for (const step of steps) {
        switch (step.do) {
          case 'want': {
            table.want(holding, step.subject, step.objects, () => {});
            const keys = step.objects.map(keyOf);
            for (const [key, slot] of wanted)
              if (slot.subject === step.subject && !keys.includes(key)) wanted.delete(key);
            for (const object of step.objects) wanted.set(keyOf(object), { subject: step.subject, object });
            break;
          }
          case 'put':
            table.put(step.object);
            found.set(keyOf(step.object), step.object);
            break;
          case 'clear': {
            const slot = table.find(step.object);
            if (slot !== undefined) table.clear(slot);
            found.delete(keyOf(step.object));
            break;
          }
          case 'look': {
            table.beginLook();
            for (const object of step.objects) table.sight(object, table.find(object));
            for (const _ of table.endLook());
            found.clear();
            for (const object of step.objects) found.set(keyOf(object), object);
          }
        }
      }
      const slots = [...table];
      const keysWhere = (is: (slot: Slot) => boolean) => slots.filter(is).map(({ object }) => keyOf(object));
      assert.deepEqual(keysWhere(({ wanted }) => wanted !== undefined).sort(), [...wanted.keys()].sort());
      assert.deepEqual(keysWhere(({ found }) => found !== undefined).sort(), [...found.keys()].sort());
      assert.equal(slots.length, new Set([...wanted.keys(), ...found.keys()]).size);
      assert.equal(table.wanted, wanted.size);
      assert.equal(holding.wanted, wanted.size);
      for (const key of wanted.keys()) {
        const slot = slots.find(({ object }) => keyOf(object) === key);
        assert.equal(slot?.subject, wanted.get(key)?.subject);
      }
    }),
  );
});

test('what changes during a look is newer than what the look finds', () => {
  const table = new SlotTable();
  table.put(neighbour(1));
  table.put(neighbour(2));
  table.beginLook();
  table.put(neighbour(3, 9));
  const gone = table.find(neighbour(1));
  assert.ok(gone);
  table.clear(gone);
  for (const old of [neighbour(1), neighbour(2), neighbour(3)]) table.sight(old, table.find(old));
  assert.deepEqual(
    Array.from(table.endLook(), ({ found }) => found),
    [neighbour(2), neighbour(3, 9)],
  );
});

test('what is found as wanted is held once', () => {
  const table = new SlotTable();
  const holding = new Holding({ name: 'network', scopes: () => [] });
  const wanted = neighbour(1);
  table.put(neighbour(1));
  table.want(holding, 'a', [wanted], () => {});
  assert.equal(table.find(wanted)?.found, wanted);
  table.want(holding, 'a', [neighbour(1)], () => {});
  const slot = table.put(neighbour(1));
  assert.equal(slot.wanted, wanted);
  assert.equal(slot.found, wanted);
});

test('a list with an object of a kind that is not in the table changes nothing', () => {
  const table = new SlotTable(new Kinds<KernelObject>([NEIGHBOUR]));
  const holding = new Holding({ name: 'network', scopes: () => [] });
  const setting: KernelObject = { kind: 'sysctl', path: 'net/x', value: '1' };
  table.want(holding, 'a', [neighbour(1)], () => {});
  assert.throws(() => table.want(holding, 'a', [neighbour(2), setting], () => {}), TypeError);
  assert.deepEqual(
    Array.from(table, ({ wanted }) => wanted),
    [neighbour(1)],
  );
  assert.deepEqual([holding.wanted, table.wanted], [1, 1]);
});
