import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DumpQuery } from '#src/kernel/kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { type KernelObject, KINDS, keyOf, type Link } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { fdb, type Host, host, link, route } from '../../test/support/reconciled-host.ts';

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

/** Bridges, and in each a device with an entry of its own. */
function inBridge(own: Host['own'], n: number): Owner {
  const owner = own(`br${n}`);
  owner.set('own', [bridge(n), port(n), bridgeFdb(n)]);
  return owner;
}
const bridge = (n: number): Link => ({ kind: 'link', name: `br${n}`, type: 'bridge', up: true });
const port = (n: number): Link => ({ ...link(`p${n}`), master: `br${n}` });
const bridgeFdb = (n: number): KernelObject => ({
  kind: 'bridge-fdb',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)),
  bridge: `br${n}`,
  device: `p${n}`,
  static: true,
});
const address = (device: string): KernelObject => ({
  kind: 'address',
  prefix: prefix4(ipv4(0x0a000001), 32),
  device,
});

/** Does `harm` on a host with many devices. Returns what was asked of the kernel before all was right again. */
async function askedAfter(
  t: TestContext,
  want: (own: Host['own']) => void,
  harm: Operation,
): Promise<{ readonly asked: readonly DumpQuery[]; readonly comparisons: number }> {
  const { kernel, reconciler, own } = await host(t);
  for (let n = 0; n < 50; n++) own(`d${n}`);
  want(own);
  await reconciler.settled();
  const [before, scan] = [kernel.text, t.mock.method(kernel, 'scan')];
  const { checks } = reconciler.status;
  kernel.interfere(harm);
  await reconciler.settled();
  assert.deepEqual(kernel.text, before, 'all is as it was');
  const asked = scan.mock.calls.map(({ arguments: [query] }) => query);
  return { asked, comparisons: reconciler.status.checks - checks };
}

test('what the kernel takes along with a device or an address is looked for on that device alone', async (t) => {
  const onBlue = (own: Host['own']) => own('blue').set('peer', [address('blue'), route('blue', 1)]);
  const takesRoutes: readonly Operation[] = [
    { verb: 'set', object: { kind: 'link', name: 'blue', up: false } },
    { verb: 'remove', object: address('blue') },
  ];
  for (const harm of takesRoutes) {
    const { asked, comparisons } = await askedAfter(t, onBlue, harm);
    assert.deepEqual(new Set(asked.map(({ device }) => device)), new Set(['blue']));
    assert.ok(asked.some(({ kinds }) => kinds.includes('route')));
    assert.equal(comparisons, 0);
  }
  const gone = { verb: 'remove', object: { kind: 'link', name: 'p7' } } as const;
  const { asked, comparisons } = await askedAfter(t, (own) => void inBridge(own, 7), gone);
  assert.deepEqual(new Set(asked.map(({ device }) => device)), new Set(['p7']));
  assert.equal(comparisons, 0);
});

test('a device that goes down keeps its entries, and nothing is asked about them', async (t) => {
  const down = { verb: 'set', object: { kind: 'link', name: 'p7', up: false } } as const;
  const { asked, comparisons } = await askedAfter(t, (own) => void inBridge(own, 7), down);
  assert.deepEqual(asked, [{ kinds: ['link'], device: 'p7' }], 'whether it is down indeed');
  assert.equal(comparisons, 0);
});

test('a device that others may be on, or may name, is compared with everything when it goes', async (t) => {
  for (const name of ['br7', 'blue']) {
    const want = (own: Host['own']) => {
      own('blue').set('peer', [fdb('blue', 1)]);
      inBridge(own, 7).set('peer', [fdb('br7', 1)]);
    };
    const { comparisons } = await askedAfter(t, want, { verb: 'remove', object: { kind: 'link', name } });
    assert.ok(comparisons >= 1, name);
  }
});

test('more than a hundred devices that go down at one time are compared with everything, once', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  for (let n = 0; n < 150; n++) own(`d${n}`).set('peer', [route(`d${n}`, n)]);
  await reconciler.settled();
  const [before, { checks }] = [kernel.text, reconciler.status];
  for (let n = 0; n < 150; n++)
    kernel.interfere({ verb: 'set', object: { kind: 'link', name: `d${n}`, up: false } });
  await reconciler.settled();
  assert.deepEqual(kernel.text, before);
  assert.equal(reconciler.status.checks - checks, 1);
});

test('the end of bulk work compares what its owner looks after', async (t) => {
  const { kernel, reconciler, own } = await host(t);
  own('red').set('peer', [fdb('red', 1)]);
  const blue = own('blue');
  await reconciler.settled();
  const { checks } = reconciler.status;
  await blue.inBulk(async () => {
    blue.set('peer', [fdb('blue', 1)]);
    await blue.settled();
    kernel.loseSilently(keyOf(fdb('blue', 1)));
  });
  await reconciler.settled();
  assert.ok(kernel.has(keyOf(fdb('blue', 1))));
  assert.equal(reconciler.status.checks, checks);
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
