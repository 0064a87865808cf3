import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KernelObject, keyOf, type Link } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { fdb, host, link, route, scopesOf } from '../../test/support/reconciled-host.ts';

/* One host with two networks: blue on the device `blue`, red on `red`, each with everything on its device. */

test('while one owner works in bulk, another’s drift is repaired at once', async (t) => {
  const { kernel, own } = await host(t);
  const [blue, red] = [own('blue'), own('red')];
  red.set('peer', [fdb('red', 9)]);
  await Promise.all([blue.settled(), red.settled()]);
  await blue.inBulk(async () => {
    blue.set('peer', [fdb('blue', 1)]);
    kernel.interfere({ verb: 'remove', object: fdb('red', 9) });
    await red.settled();
    assert.ok(kernel.has(keyOf(fdb('red', 9))), 'repaired in the middle of the other’s bulk');
    kernel.interfere({ verb: 'remove', object: fdb('blue', 1) });
  });
  await blue.settled();
  assert.ok(kernel.has(keyOf(fdb('blue', 1))), 'the comparison in the end repairs what was muted');
  assert.deepEqual([blue.status.repairs, red.status.repairs], [1, 1]);
});

test('one owner’s thousands of changes do not hold up another’s three', async (t) => {
  const { kernel, own } = await host(t);
  const [blue, red] = [own('blue'), own('red')];
  await Promise.all([blue.settled(), red.settled()]);
  for (let n = 0; n < 20_000; n++) blue.set(`peer ${n}`, [route('blue', n)]);
  red.set('peer', [fdb('red', 9)]);
  await red.settled();
  assert.ok(kernel.has(keyOf(fdb('red', 9))));
  assert.ok(!kernel.has(keyOf(route('blue', 19_999))), 'the others are still waiting');
  await blue.settled();
  assert.ok(kernel.has(keyOf(route('blue', 19_999))));
});

test('what is wanted by nobody goes when its owner allows it, and only in its scopes', async (t) => {
  const { kernel, own } = await host(t);
  for (const object of [
    link('blue'),
    link('red'),
    link('eth0'),
    fdb('blue', 1),
    fdb('red', 1),
    fdb('eth0', 1),
  ])
    kernel.interfere({ verb: 'add', object });
  const [blue, red] = [own('blue'), own('red')];
  await Promise.all([blue.settled(), red.settled()]);
  const left = (): boolean[] => ['blue', 'red', 'eth0'].map((device) => kernel.has(keyOf(fdb(device, 1))));
  assert.deepEqual(left(), [true, true, true]);
  blue.allowRemoval();
  await blue.settled();
  assert.deepEqual(left(), [false, true, true]);
  red.allowRemoval();
  await red.settled();
  assert.deepEqual(left(), [false, false, true]);
});

test('of two owners that want one slot the first keeps it, and the second gets it when the first lets go', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [blue, red] = [own('blue'), own('red')];
  for (const owner of [blue, red]) owner.allowRemoval();
  await Promise.all([blue.settled(), red.settled()]);
  blue.set('peer', [route('blue', 1)]);
  red.set('peer', [route('red', 1), route('red', 2)]);
  await Promise.all([blue.settled(), red.settled()]);
  const key = keyOf(route('blue', 1));
  const reason = 'blue has it first: "10.0.1.0/24 dev blue onlink"';
  assert.deepEqual(red.status.failing, [{ key, reason }]);
  assert.deepEqual(blue.status.failing, []);
  assert.deepEqual(
    [...reconciler.view()].filter((slot) => slot.key === key).map(({ owner, failure }) => [owner, failure]),
    [
      ['blue', undefined],
      ['red', reason],
    ],
  );
  blue.set('peer', []);
  await Promise.all([blue.settled(), red.settled()]);
  assert.deepEqual(red.status.failing, []);
  assert.ok(kernel.text.includes('route 10.0.1.0/24 dev red onlink'), kernel.text.join('\n'));
});

test('two owners may want the same object, and it stays as long as one of them does', async (t) => {
  const { kernel, own } = await host(t);
  const [blue, red] = [own('blue'), own('red')];
  await Promise.all([blue.settled(), red.settled()]);
  for (const owner of [blue, red]) {
    owner.allowRemoval();
    owner.set('shared', [route('blue', 1)]);
  }
  await Promise.all([blue.settled(), red.settled()]);
  assert.deepEqual([blue.status.failing, red.status.failing], [[], []]);
  blue.set('shared', []);
  await Promise.all([blue.settled(), red.settled()]);
  assert.ok(kernel.has(keyOf(route('blue', 1))));
  red.set('shared', []);
  await Promise.all([blue.settled(), red.settled()]);
  assert.ok(!kernel.has(keyOf(route('blue', 1))));
});

test('what a released owner made stays, and is no longer looked after', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const [blue, red] = [own('blue'), own('red')];
  blue.allowRemoval();
  blue.set('peer', [fdb('blue', 1), fdb('blue', 2)]);
  red.set('peer', [fdb('red', 1)]);
  await Promise.all([blue.settled(), red.settled()]);
  await blue.release();
  kernel.interfere({ verb: 'remove', object: fdb('blue', 2) });
  blue.set('peer', [fdb('blue', 3)]);
  reconciler.check();
  await reconciler.settled();
  const has = (object: KernelObject): boolean => kernel.has(keyOf(object));
  assert.deepEqual(
    [1, 2, 3].map((n) => has(fdb('blue', n))),
    [true, false, false],
  );
  assert.ok(has(link('blue')) && has(fdb('red', 1)));
  assert.deepEqual(
    [...reconciler.view()].map(({ owner }) => owner),
    ['red', 'red'],
  );
});

test('a release waits for changes that are under way', async (t) => {
  const { clock, kernel, own } = await host(t);
  const blue = own('blue');
  await blue.settled();
  for (let n = 0; n < 5_000; n++) blue.set(`peer ${n}`, [route('blue', n)]);
  await blue.release();
  const made = kernel.history.length;
  await clock.advance(1_000);
  assert.equal(kernel.history.length, made);
});

test('a plan changes nothing, and leaves out what another owner wants', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  kernel.interfere({ verb: 'add', object: link('blue') });
  for (const n of [1, 2]) kernel.interfere({ verb: 'add', object: fdb('blue', n) });
  const red = own('red');
  red.set('guest', [fdb('blue', 2)]);
  await red.settled();
  const before = kernel.history.length;
  const scopes = scopesOf('blue');
  const blue = reconciler.own({ name: 'blue', scopes: () => scopes });
  blue.set('peer', [fdb('blue', 3)]);
  const plan = await blue.plan();
  assert.deepEqual(
    plan.map(({ verb, object }) => `${verb} ${keyOf(object)}`),
    [`replace ${keyOf(fdb('blue', 3))}`, `remove ${keyOf(fdb('blue', 1))}`],
  );
  assert.deepEqual(kernel.history.slice(before), []);
});

test('an owner explains what the kernel’s words leave open', async (t) => {
  const { kernel, reconciler } = await host(t);
  kernel.interfere({ verb: 'add', object: link('eth0') });
  kernel.refuseAlways = (command) => (command.startsWith('ip link add blue') ? 'EEXIST' : undefined);
  const blue = reconciler.own({
    name: 'blue',
    scopes: () => [],
    explain: (object, { errno }, links) =>
      `${keyOf(object)}: ${errno} beside ${links.map(({ name }) => name).join()}`,
  });
  blue.set('own', [link('blue')]);
  await blue.settled();
  assert.deepEqual(blue.status.failing, [
    { key: 'link blue', reason: 'link blue: EEXIST beside eth0 (EEXIST)' },
  ]);
});

test('a device that comes back ends the pauses of what waits for it', async (t) => {
  const { clock, kernel, reconciler } = await host(t);
  const underlay: Scope = { kinds: ['link'], filter: { device: 'eth0' }, owns: () => false };
  const scopes = [...scopesOf('blue'), underlay];
  const blue = reconciler.own({ name: 'blue', scopes: () => scopes });
  const tunnel: Link = {
    ...link('blue'),
    vxlan: { vni: 1, underlay: 'eth0', port: 8472, learning: false, gbp: false },
  };
  kernel.refuseAlways = (command) =>
    command.startsWith('ip link add blue') && !kernel.has('link eth0') ? 'ENODEV' : undefined;
  blue.set('own', [tunnel]);
  blue.set('peer', [fdb('blue', 1)]);
  await clock.advance(45_000);
  const tries = kernel.history.filter((command) => command.startsWith('ip link add blue')).length;
  assert.ok(tries >= 8 && tries <= 12, `the pauses grow: ${tries} tries`);
  kernel.interfere({ verb: 'add', object: link('eth0') });
  await blue.settled();
  assert.ok(kernel.has('link blue') && kernel.has(keyOf(fdb('blue', 1))), 'without any time going by');
  assert.deepEqual(blue.status.failing, []);
});

test('events that attempts cause themselves do not make a hot loop', async (t) => {
  const { clock, kernel, own } = await host(t);
  let tries = 0;
  kernel.refuseAlways = (command) => {
    if (!command.startsWith('ip link add blue')) return undefined;
    tries++;
    const object: Link = { kind: 'link', name: 'blue', index: tries, up: false };
    void nextTurn().then(() => {
      kernel.emit({ type: 'changed', object });
      kernel.emit({ type: 'removed', object });
    });
    return 'ENOMEM';
  };
  const blue = own('blue');
  await clock.advance(60_000);
  assert.ok(tries >= 40 && tries < 200, `${tries} tries in a minute`);
  kernel.refuseAlways = undefined;
  await clock.advance(30_000);
  assert.deepEqual(blue.status.failing, []);
});

test('what two owners may have made goes only when both allow it', async (t) => {
  const { kernel, reconciler } = await host(t);
  const scopes: readonly Scope[] = [{ kinds: ['route'], filter: { protocol: 3 }, owns: () => true }];
  const [blue, red] = ['blue', 'red'].map((name) => reconciler.own({ name, scopes: () => scopes }));
  assert.ok(blue && red);
  kernel.interfere({ verb: 'add', object: link('eth0') });
  kernel.interfere({ verb: 'add', object: route('eth0', 1) });
  blue.allowRemoval();
  await reconciler.settled();
  assert.ok(kernel.has(keyOf(route('eth0', 1))), 'red may have a peer there that it does not know yet');
  red.allowRemoval();
  await reconciler.settled();
  assert.ok(!kernel.has(keyOf(route('eth0', 1))));
});
