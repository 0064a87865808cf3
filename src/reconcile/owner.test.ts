import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { type FdbEntry, type KernelObject, KINDS, keyOf, type Link, type Route } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';

/* One host with two networks: blue on the device `blue`, red on `red`, each with everything on its device. */

const link = (name: string): Link => ({ kind: 'link', name, type: 'dummy', up: true });
const fdb = (device: string, n: number, destination = n): FdbEntry => ({
  kind: 'fdb',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)),
  destination: ipv4(0xac100000 + destination),
  device,
  permanent: true,
});
const route = (device: string, n: number): Route => ({
  kind: 'route',
  destination: prefix4(ipv4(0x0a000000 + n * 256), 24),
  type: 'unicast',
  device,
  onlink: true,
  metric: 0,
  protocol: 3,
  scope: 0,
});
const ALL = KINDS.names;
const scopesOf = (device: string): readonly Scope[] => [
  { kinds: ALL, filter: { device }, owns: ({ kind }) => kind !== 'link' },
];

interface Host {
  readonly kernel: MemoryKernel;
  readonly reconciler: Reconciler;
  own(device: string): Owner;
}

async function host(t: TestContext): Promise<Host> {
  const kernel = new MemoryKernel();
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  await reconciler.start(stopper.signal);
  const own = (device: string): Owner => {
    const scopes = scopesOf(device);
    const owner = reconciler.own({ name: device, scopes: () => scopes });
    owner.set('own', [link(device)]);
    return owner;
  };
  return { kernel, reconciler, own };
}

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
  const { kernel, own } = await host(t);
  const blue = own('blue');
  await blue.settled();
  for (let n = 0; n < 5_000; n++) blue.set(`peer ${n}`, [route('blue', n)]);
  await blue.release();
  const made = kernel.history.length;
  await systemClock.sleep(1);
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
