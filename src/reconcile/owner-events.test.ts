import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NotedEvent } from '#src/lib/host-events.ts';
import type { KernelObject } from '#src/state/object.ts';
import { host, link, route, scopesOf } from '../../test/support/reconciled-host.ts';

/* What an owner hears of its repairs and failures, and what readers see of its subjects. */

async function noted(t: Parameters<typeof host>[0]) {
  const { clock, kernel, reconciler } = await host(t);
  const events: NotedEvent[] = [];
  const scopes = scopesOf('blue');
  const own = (name: string) =>
    reconciler.own({ name, scopes: () => scopes, events: { note: (event) => events.push(event) } });
  const blue = own('blue');
  const set = (subject: string, ...objects: KernelObject[]) => blue.set(subject, objects);
  const taken = () => events.splice(0).map(({ type, text }) => `${type}: ${text}`);
  return { clock, kernel, reconciler, own, blue, set, taken };
}

test('a repair is noted; what is made or changed because it is wanted is not', async (t) => {
  const { kernel, reconciler, set, taken } = await noted(t);
  set('own', link('blue'));
  set('peer', route('blue', 1));
  await reconciler.settled();
  set('peer', route('blue', 2));
  await reconciler.settled();
  assert.deepEqual(taken(), []);
  kernel.interfere({ verb: 'remove', object: route('blue', 2) });
  await reconciler.settled();
  const [first, ...more] = taken();
  assert.match(first ?? '', /^repair: Repaired route ".*dev blue.*" \(was gone\)$/);
  assert.deepEqual(more, []);
});

test('of many repairs ten are named, and one event says how many more there were', async (t) => {
  const { kernel, reconciler, set, taken } = await noted(t);
  set('own', link('blue'));
  for (let n = 1; n <= 500; n++) set(`peer ${n}`, route('blue', n));
  await reconciler.settled();
  for (let n = 1; n <= 500; n++) kernel.interfere({ verb: 'remove', object: route('blue', n) });
  await reconciler.settled();
  const texts = taken();
  assert.equal(texts.length, 11);
  assert.equal(texts.at(-1), 'repair: 490 more objects had changed; repaired');
});

test('a refusal is noted once, and a subject says what is not as wanted', async (t) => {
  const { clock, kernel, reconciler, blue, set, taken } = await noted(t);
  kernel.refuseAlways = (command) => (command.startsWith('ip route') ? 'EBUSY' : undefined);
  set('own', link('blue'));
  set('peer', route('blue', 1));
  await reconciler.settled();
  await clock.advance(5_000);
  const [first, ...more] = taken();
  assert.match(first ?? '', /^failure: Could not apply "ip route replace .*": EBUSY \(EBUSY\)$/);
  assert.deepEqual(more, []);
  assert.deepEqual(blue.stateOf('own'), { isDone: true });
  assert.deepEqual(blue.stateOf('nobody'), { isDone: true });
  const state = blue.stateOf('peer');
  assert.ok(!state.isDone);
  assert.equal(state.reason, 'EBUSY (EBUSY)');
});

test('a slot that another owner has is noted; one that both want alike is everybody’s', async (t) => {
  const { reconciler, own, set, taken } = await noted(t);
  const red = own('red');
  set('own', link('blue'));
  set('peer', route('blue', 1), route('blue', 2));
  await reconciler.settled();
  red.set('peer', [route('blue', 1)]);
  assert.deepEqual(red.stateOf('peer'), { isDone: true });
  red.set('peer', [route('blue', 1), { ...route('blue', 2), onlink: false } as KernelObject]);
  await reconciler.settled();
  const state = red.stateOf('peer');
  assert.ok(!state.isDone);
  assert.equal(state.reason, 'blue has it first');
  assert.match(taken().join('\n'), /^failure: Not to be had: blue has it first: /);
});

test('a view may be read while slots come and go', async (t) => {
  const { reconciler, set } = await noted(t);
  set('own', link('blue'));
  for (let n = 1; n <= 20; n++) set(`peer ${n}`, route('blue', n));
  await reconciler.settled();
  const view = reconciler.view();
  const keys = [view.next().value?.key];
  for (let n = 1; n <= 19; n++) set(`peer ${n}`);
  set('peer 21', route('blue', 21));
  await reconciler.settled();
  for (const { key, wanted, found } of view) {
    keys.push(key);
    assert.ok(wanted !== undefined || found !== undefined, key);
  }
  assert.equal(new Set(keys).size, keys.length);
  assert.ok(keys.length < 22, String(keys.length));
});
