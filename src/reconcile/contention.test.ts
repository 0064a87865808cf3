import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOf } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { host, link, route } from '../../test/support/reconciled-host.ts';

/* Two networks, blue and red, want one route's slot, each over its own device. What one lets go of, the other one gets. */

const redHas = 'route 10.0.1.0/24 dev red onlink';
const blueHas = 'route 10.0.1.0/24 dev blue onlink';
/** Where any route may be made by each of the two. */
const SHARED: readonly Scope[] = [{ kinds: ['route'], filter: { protocol: 3 }, owns: () => true }];

for (const isSettled of [true, false])
  test(`a slot that its owner withdrew and was released ${isSettled ? 'later' : 'at once'} is the next owner’s`, async (t) => {
    const { kernel, reconciler, own } = await host(t);
    const [red, blue] = [own('red'), own('blue')];
    await reconciler.settled();
    red.set('peer', [route('red', 1)]);
    blue.set('peer', [route('blue', 1)]);
    if (isSettled) await reconciler.settled();
    red.set('peer', []);
    await red.release();
    await blue.settled();
    assert.ok(kernel.text.includes(blueHas), kernel.text.join('\n'));
    assert.deepEqual(blue.status.failing, []);
  });

test('a stale route goes though the owner that wanted its slot was released before its turn', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [red, blue] = [own('red'), own('blue')];
  await reconciler.settled();
  kernel.interfere({ verb: 'replace', object: route('red', 1) });
  blue.set('peer', [route('blue', 1)]);
  red.allowRemoval();
  await blue.release();
  await reconciler.settled();
  assert.ok(!kernel.has(keyOf(route('red', 1))), kernel.text.join('\n'));
});

test('what two owners allow to be removed goes though one of them is released before its turn', async (t) => {
  const { kernel, reconciler } = await host(t);
  const [red, blue] = ['red', 'blue'].map((name) => reconciler.own({ name, scopes: () => SHARED }));
  assert.ok(red && blue);
  kernel.interfere({ verb: 'add', object: link('eth0') });
  kernel.interfere({ verb: 'add', object: route('eth0', 1) });
  await reconciler.settled();
  for (const owner of [red, blue]) owner.allowRemoval();
  await red.release();
  await reconciler.settled();
  assert.ok(!kernel.has(keyOf(route('eth0', 1))));
});

test('what a released owner made stays, though another one might remove it', async (t) => {
  const { kernel, reconciler } = await host(t);
  const [red, blue] = ['red', 'blue'].map((name) => reconciler.own({ name, scopes: () => SHARED }));
  assert.ok(red && blue);
  kernel.interfere({ verb: 'add', object: link('eth0') });
  red.set('peer', [route('eth0', 1)]);
  for (const owner of [red, blue]) owner.allowRemoval();
  await reconciler.settled();
  await red.release();
  await reconciler.settled();
  assert.ok(kernel.has(keyOf(route('eth0', 1))));
});

test('an owner has settled only when it has the slots that passed to it', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [red, blue] = [own('red'), own('blue')];
  red.set('peer', [route('red', 1)]);
  blue.set('peer', [route('blue', 1)]);
  await reconciler.settled();
  for (let n = 2; n < 5_000; n++) red.set(`peer ${n}`, [route('red', n)]);
  // Behind all the others.
  kernel.interfere({ verb: 'remove', object: route('red', 1) });
  red.set('peer', []);
  await blue.settled();
  assert.ok(kernel.text.includes(blueHas));
  assert.ok(!kernel.has(keyOf(route('red', 4_999))), 'the former owner’s others are still waiting');
});

test('an owner that gets a slot does not wait for the end of the former owner’s pause', async (t) => {
  const { clock, kernel, reconciler, own } = await host(t);
  const [red, blue] = [own('red'), own('blue')];
  await reconciler.settled();
  kernel.refuseAlways = (command) => (command.includes('dev red') ? 'EINVAL' : undefined);
  red.set('peer', [route('red', 1)]);
  blue.set('peer', [route('blue', 1)]);
  await clock.advance(60_000);
  assert.deepEqual(
    red.status.failing.map(({ reason }) => reason),
    ['EINVAL (EINVAL)'],
  );
  red.set('peer', []);
  await blue.settled();
  assert.ok(kernel.text.includes(blueHas), 'without any time going by');
  assert.deepEqual([red.status.failing, blue.status.failing], [[], []]);
});

test('a refusal that arrives after the slot has passed on is no failure of the next owner', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [red, blue] = [own('red'), own('blue')];
  await reconciler.settled();
  kernel.refuseAlways = (command) => {
    if (!command.includes('dev red')) return undefined;
    red.set('peer', []);
    return 'EINVAL';
  };
  red.set('peer', [route('red', 1)]);
  blue.set('peer', [route('blue', 1)]);
  await reconciler.settled();
  assert.deepEqual(reconciler.status.failing, []);
  assert.ok(kernel.text.includes(blueHas), 'without any time going by');
});

test('a change that succeeds after the slot has passed on is replaced', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [red, blue] = [own('red'), own('blue')];
  await reconciler.settled();
  kernel.refuseAlways = (command) => {
    if (command.includes('dev red')) red.set('peer', []);
    return undefined;
  };
  red.set('peer', [route('red', 1)]);
  blue.set('peer', [route('blue', 1)]);
  await reconciler.settled();
  assert.ok(kernel.text.includes(blueHas) && !kernel.text.includes(redHas));
});
