import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { Slot } from '#src/reconcile/slot.ts';
import { WorkQueue } from '#src/reconcile/work-queue.ts';

const slot = (n: number): Slot =>
  new Slot({
    kind: 'fdb',
    mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255)),
    destination: ipv4(n),
    device: 'blue',
    permanent: true,
  });
const slots = (count: number): Slot[] => Array.from({ length: count }, (_, n) => slot(n));
const AT_ONCE = () => 0;

test('a slot is in the queue once, and a change of the kernel is its cause from then on', () => {
  const queue = new WorkQueue<string>();
  const one = slot(1);
  queue.add(one, 'wanted', 'blue');
  queue.add(one, 'kernel', 'blue');
  queue.add(one, 'wanted', 'blue');
  assert.deepEqual(queue.take(100, 0, AT_ONCE), [{ slot: one, cause: 'kernel' }]);
  assert.equal(one.cause, undefined);
  assert.deepEqual(queue.take(100, 0, AT_ONCE), []);
  assert.ok(queue.isEmpty);
});

test('each owner’s slots come in their order, and owners share what is taken', () => {
  const queue = new WorkQueue<string>();
  const [blue, red] = [slots(1_000), slots(3)];
  for (const one of blue) queue.add(one, 'wanted', 'blue');
  for (const one of red) queue.add(one, 'wanted', 'red');
  const first = queue.take(120, 0, AT_ONCE).map(({ slot }) => slot);
  assert.deepEqual(first, [...blue.slice(0, 60), ...red]);
  assert.deepEqual([queue.isIdle('blue'), queue.isIdle('red'), queue.isEmpty], [false, true, false]);
  const second = queue.take(120, 0, AT_ONCE).map(({ slot }) => slot);
  assert.deepEqual(second, blue.slice(60, 180), 'alone, an owner has all of it');
});

test('slots that have to wait are asked again at the time that the first of them gave', () => {
  const queue = new WorkQueue<string>();
  const [one, two] = [slot(1), slot(2)];
  queue.add(one, 'wanted', 'blue');
  queue.add(two, 'wanted', 'blue');
  const waits = new Map([
    [one, 50],
    [two, 80],
  ]);
  const at = (now: number) =>
    queue.take(100, now, (slot) => (waits.get(slot) ?? 0) - now).map(({ slot }) => slot);
  assert.deepEqual(at(0), []);
  assert.ok(queue.isIdle('blue'));
  assert.equal(queue.dueAt, 50);
  assert.deepEqual(at(49), []);
  assert.deepEqual(at(50), [one]);
  assert.equal(queue.dueAt, 80);
  waits.clear();
  assert.deepEqual(at(60), []);
  queue.wakeAll();
  assert.ok(!queue.isEmpty);
  assert.deepEqual(at(60), [two]);
  assert.equal(queue.dueAt, Number.POSITIVE_INFINITY);
});

test('what is dropped may be added again', () => {
  const queue = new WorkQueue<string>();
  const one = slot(1);
  queue.add(one, 'wanted', 'blue');
  queue.take(100, 0, () => 10);
  queue.drop('blue');
  assert.equal(one.cause, undefined);
  queue.add(one, 'wanted', 'red');
  assert.deepEqual(
    queue.take(100, 0, AT_ONCE).map(({ slot }) => slot),
    [one],
  );
});

test('a slot that passes to another owner is looked at once, in the lane that is served first', () => {
  const queue = new WorkQueue<string>();
  const [one, two] = [slot(1), slot(2)];
  queue.add(one, 'kernel', 'red');
  queue.add(two, 'wanted', 'red');
  queue.pass(one, 'blue');
  assert.ok(!queue.isIdle('blue'));
  assert.deepEqual(queue.take(100, 0, AT_ONCE), [
    { slot: one, cause: 'kernel' },
    { slot: two, cause: 'wanted' },
  ]);
  assert.ok(queue.isEmpty && queue.isIdle('blue'));
  assert.deepEqual(queue.take(100, 0, AT_ONCE), []);
});

test('what is dropped is handed back', () => {
  const queue = new WorkQueue<string>();
  const [taken, waiting, queued] = [slot(1), slot(2), slot(3)];
  for (const each of [taken, waiting]) queue.add(each, 'wanted', 'red');
  queue.take(100, 0, (each) => (each === waiting ? 10 : 0));
  queue.add(queued, 'wanted', 'red');
  assert.deepEqual(queue.drop('red'), [queued, waiting]);
  assert.deepEqual(queue.drop('red'), []);
});
