import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KINDS, keyOf } from '#src/state/object.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { fdb, host, link } from '../../test/support/reconciled-host.ts';

/* A comparison of everything is dear on a host with many networks: devices that come and go ask for one only where they must. */

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await nextTurn();
};

test('devices that we make and take away ask for no comparison', async (t) => {
  for (const reportsAfter of [0, 3]) {
    const { kernel, reconciler, own } = await host(t);
    kernel.reportsAfter = reportsAfter;
    const blue = own('blue');
    blue.allowRemoval();
    await blue.settled();
    const { checks } = reconciler.status;
    blue.set('peer', [fdb('blue', 1)]);
    await turns(10);
    blue.set('peer', []);
    blue.set('own', []);
    await turns(10);
    assert.equal(kernel.text.filter((line) => line.startsWith('fdb')).length, 0);
    assert.equal(reconciler.status.checks, checks);
    assert.equal(reconciler.status.repairs, 0);
  }
});

test('a device that goes down or away with what is wanted on it asks for one', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const blue = own('blue');
  blue.set('peer', [fdb('blue', 1)]);
  await blue.settled();
  for (const verb of ['set', 'remove'] as const) {
    const { checks } = reconciler.status;
    kernel.interfere({ verb, object: { kind: 'link', name: 'blue', up: false } });
    await reconciler.settled();
    assert.ok(reconciler.status.checks > checks, verb);
    assert.ok(kernel.text.some((line) => line.startsWith('fdb')));
  }
});

test('one that goes down or away with nothing of ours on it asks for none', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const blue = own('blue');
  await blue.settled();
  const { checks } = reconciler.status;
  kernel.interfere({ verb: 'set', object: { kind: 'link', name: 'blue', up: false } });
  await reconciler.settled();
  assert.equal(reconciler.status.checks, checks);
  assert.ok(kernel.text.includes('link blue mtu 1500 type dummy'));
});

test('reports from before our own last step are no drift', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  kernel.reportsAfter = 4;
  const blue = own('blue');
  await turns(50);
  await blue.settled();
  assert.deepEqual(kernel.history, ['ip link add blue type dummy', 'ip link set blue up']);
  assert.deepEqual([reconciler.status.repairs, reconciler.status.failing], [0, []]);
});

test('a device that seems to have drifted is asked for by itself, however many there are', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  for (let n = 0; n < 50; n++) own(`d${n}`);
  await reconciler.settled();
  kernel.reportsAfter = 4;
  const scan = t.mock.method(kernel, 'scan');
  const { checks } = reconciler.status;
  kernel.interfere({ verb: 'set', object: { kind: 'link', name: 'd7', up: false } });
  await turns(20);
  await reconciler.settled();
  const asked = scan.mock.calls.map(({ arguments: [query] }) => query);
  assert.deepEqual(asked, [{ kinds: ['link'], device: 'd7' }]);
  assert.equal(reconciler.status.checks, checks);
  assert.equal(kernel.history.at(-1), 'ip link set d7 up');
});

test('a network that comes is looked at by itself, and so is what it gives up', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  for (let n = 0; n < 50; n++) own(`d${n}`);
  await reconciler.settled();
  // What an earlier run left, and what another network has.
  kernel.interfere({ verb: 'add', object: link('blue') });
  kernel.interfere({ verb: 'add', object: fdb('blue', 1) });
  kernel.interfere({ verb: 'add', object: fdb('d7', 1) });
  const scan = t.mock.method(kernel, 'scan');
  const { checks } = reconciler.status;
  const blue = own('blue');
  await blue.settled();
  const devices = new Set(scan.mock.calls.map(({ arguments: [query] }) => query.device));
  assert.deepEqual(devices, new Set(['blue']));
  assert.equal(reconciler.status.checks, checks, 'no full comparison');
  assert.equal(blue.status.checks, 1);
  assert.equal(kernel.history.filter((command) => command.includes('dev blue')).length, 0);
  blue.allowRemoval();
  await blue.settled();
  const removed = kernel.history.filter((command) => command.startsWith('bridge fdb del'));
  assert.deepEqual(
    removed.map((command) => command.split(' ').at(5)),
    ['blue'],
    'what it found there, and nothing of others',
  );
});

test('a full comparison of many networks lists each kind once, not for each of their devices', async (t) => {
  const { clock, kernel, reconciler, own } = await host(t);
  for (let n = 0; n < 100; n++) own(`d${n}`).set('peer', [fdb(`d${n}`, n)]);
  await reconciler.settled();
  kernel.loseSilently(keyOf(fdb('d42', 42)));
  const scan = t.mock.method(kernel, 'scan');
  reconciler.check();
  await clock.advance(10);
  await reconciler.settled();
  assert.ok(scan.mock.callCount() <= KINDS.names.length, `${scan.mock.callCount()} lists`);
  assert.equal(kernel.text.filter((line) => line.startsWith('fdb')).length, 100, 'and finds what is lost');
});

test('networks that come at one time are looked at together', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  const read = t.mock.method(kernel, 'scan');
  const { checks } = reconciler.status;
  const all = Array.from({ length: 40 }, (_, n) => own(`d${n}`));
  await reconciler.settled();
  assert.equal(reconciler.status.checks, checks);
  const links = read.mock.calls.filter(({ arguments: [{ kinds }] }) => kinds.includes('link'));
  assert.equal(links.length, 40, 'each device once');
  assert.ok(all.every(({ status }) => status.checks === 1));
  assert.equal(kernel.text.filter((line) => line.startsWith('link d')).length, 40);
});

test('what waited for a device that could not be made is made with it, without a comparison', async (t) => {
  const { clock, kernel, reconciler, own } = await host(t);
  kernel.refuseAlways = (command) => (command.startsWith('ip link add') ? 'EBUSY' : undefined);
  const blue = own('blue');
  blue.set('peer', [fdb('blue', 1), fdb('blue', 2)]);
  await clock.advance(10_000);
  const { checks } = reconciler.status;
  kernel.refuseAlways = undefined;
  await clock.advance(30_000);
  assert.equal(kernel.text.filter((line) => line.startsWith('fdb')).length, 2);
  assert.equal(reconciler.status.checks, checks);
  // And when another program makes it.
  kernel.refuseAlways = (command) => (command.startsWith('ip link add') ? 'EBUSY' : undefined);
  kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'blue' } });
  await clock.advance(10_000);
  kernel.interfere({ verb: 'add', object: link('blue') });
  await clock.advance(10);
  assert.equal(kernel.text.filter((line) => line.startsWith('fdb')).length, 2);
});
