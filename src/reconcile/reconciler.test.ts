import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { type Ipv4, ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { type KernelObject, KINDS, keyOf, RTPROT_WEFT } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

const mac = (n: number): Mac => macFromBytes(Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255));
const base = (n: number): Ipv4 => ipv4(0x0a000000 + n * 256);

const OWN: KernelObject[] = [
  {
    kind: 'link',
    name: 'flannel.1',
    type: 'vxlan',
    mac: mac(0),
    mtu: 1450,
    up: true,
    vxlan: { vni: 1, underlay: 'eth0', port: 8472, learning: false, gbp: false },
  },
  { kind: 'address', prefix: prefix4(base(0), 32), device: 'flannel.1' },
];

function peer(n: number, macNumber = n): KernelObject[] {
  const common = { device: 'flannel.1', permanent: true } as const;
  return [
    { kind: 'fdb', mac: mac(macNumber), destination: ipv4(0xac100000 + n), ...common },
    { kind: 'neighbour', ip: base(n), mac: mac(macNumber), ...common },
    {
      kind: 'route',
      destination: prefix4(base(n), 24),
      type: 'unicast',
      via: base(n),
      device: 'flannel.1',
      onlink: true,
      metric: 0,
      protocol: 3,
      scope: 0,
    },
  ];
}

const ALL = KINDS.names;
const SCOPES: readonly Scope[] = [
  { kinds: ALL, filter: { device: 'flannel.1' }, owns: ({ kind }) => kind !== 'link' },
  { kinds: ['link'], filter: { device: 'eth0' }, owns: () => false },
  { kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns: () => false },
];

/** A host with an underlay, and a reconciler that owns everything on flannel.1. */
async function start({
  fullCheckMs = 3_600_000,
  fullCheckShare = 1,
  kernel = new MemoryKernel(),
  clock = new FakeClock(),
} = {}): Promise<{
  kernel: MemoryKernel;
  clock: FakeClock;
  reconciler: Reconciler;
  owner: Owner;
  stop: () => void;
}> {
  kernel.interfere({ verb: 'add', object: { kind: 'link', name: 'eth0', up: true } });
  const reconciler = new Reconciler(
    { actuators: [kernel], clock, log: silentLogger },
    { fullCheckMs, fullCheckShare },
  );
  const owner = reconciler.own({ name: 'network', scopes: () => SCOPES });
  const stopper = new AbortController();
  owner.set('own', OWN);
  await reconciler.start(stopper.signal);
  return { kernel, clock, reconciler, owner, stop: () => stopper.abort() };
}

const wantedText = (objects: readonly KernelObject[]): string[] => objects.map(keyOf).sort();
const onOverlay = (kernel: MemoryKernel, candidates: readonly KernelObject[]): string[] =>
  candidates
    .map(keyOf)
    .filter((key) => kernel.has(key))
    .sort();

test('a start on an empty host makes what is wanted', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  assert.deepEqual(onOverlay(kernel, [...OWN, ...peer(1)]), wantedText([...OWN, ...peer(1)]));
  stop();
});

test('saying the same again changes nothing', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  const before = kernel.history.length;
  owner.set('a', peer(1));
  reconciler.check();
  await reconciler.settled();
  assert.equal(kernel.history.length, before);
  stop();
});

for (const object of [...peer(1), ...OWN]) {
  test(`a deleted ${object.kind} is put back on the kernel's event`, async () => {
    const { kernel, reconciler, owner, stop } = await start();
    owner.set('a', peer(1));
    await reconciler.settled();
    kernel.interfere({ verb: 'remove', object });
    await reconciler.settled();
    assert.deepEqual(onOverlay(kernel, [...OWN, ...peer(1)]), wantedText([...OWN, ...peer(1)]));
    stop();
  });
}

test('a device that was switched off comes up again with the routes that the kernel dropped in silence', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  kernel.interfere({ verb: 'set', object: { kind: 'link', name: 'flannel.1', up: false } });
  await reconciler.settled();
  assert.deepEqual(onOverlay(kernel, peer(1)), wantedText(peer(1)));
  stop();
});

test('what is lost without an event is found by the comparison after an overrun', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  const [fdb] = peer(1);
  assert.ok(fdb);
  kernel.loseSilently(keyOf(fdb));
  kernel.emit({ type: 'overrun' });
  await reconciler.settled();
  assert.ok(kernel.has(keyOf(fdb)));
  stop();
});

test('nothing of ours is removed before the registry is known, all of it after, and nothing foreign ever', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  const foreign: KernelObject = { kind: 'address', prefix: prefix4(ipv4(0xc0a80101), 24), device: 'eth0' };
  for (const object of [...peer(7), foreign]) kernel.interfere({ verb: 'replace', object });
  await reconciler.settled();
  assert.equal(onOverlay(kernel, peer(7)).length, 3);
  owner.allowRemoval();
  await reconciler.settled();
  assert.deepEqual(onOverlay(kernel, peer(7)), []);
  assert.ok(kernel.has(keyOf(foreign)));
  stop();
});

test('an event from before our own change does not hide from its removal what we put there', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.allowRemoval();
  const [, , route] = peer(1);
  assert.ok(route?.kind === 'route');
  owner.set('a', peer(1));
  await reconciler.settled();
  kernel.emit({ type: 'changed', object: { ...route, protocol: 4 } });
  owner.set('a', []);
  await reconciler.settled();
  stop();
  assert.deepEqual(onOverlay(kernel, peer(1)), []);
});

test('what the kernel shows and does not let go does not make full comparisons follow each other', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.allowRemoval();
  const [fdb] = peer(1);
  assert.ok(fdb);
  kernel.refuseAlways = (command) => (command.startsWith('bridge fdb del') ? 'ENOENT' : undefined);
  const before = reconciler.status.checks;
  kernel.interfere({ verb: 'add', object: fdb });
  await reconciler.settled();
  await reconciler.settled();
  stop();
  assert.equal(reconciler.status.checks - before, 1);
});

test('a refused operation is shown, tried again, and does not hold up the rest', async () => {
  const { kernel, clock, reconciler, owner, stop } = await start();
  const [fdb] = peer(1);
  assert.ok(fdb);
  kernel.refusals.set(
    'bridge fdb replace 02:00:00:00:00:01 dev flannel.1 dst 172.16.0.1 self permanent',
    'ENOBUFS',
  );
  owner.set('a', peer(1));
  await reconciler.settled();
  assert.equal(onOverlay(kernel, peer(1)).length, 2);
  assert.deepEqual(reconciler.status.failing, [{ key: keyOf(fdb), reason: 'ENOBUFS (ENOBUFS)' }]);
  await clock.advance(50);
  assert.deepEqual(reconciler.status.failing, []);
  assert.ok(kernel.has(keyOf(fdb)));
  stop();
});

test('a device that can not be made is tried again with pauses, and what belongs on it waits', async () => {
  const { kernel, clock, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  const [add] = kernel.history;
  assert.match(add ?? '', /^ip link add flannel\.1/);
  kernel.refuseAlways = (command) => (command === add ? 'ENOMEM' : undefined);
  kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'flannel.1' } });
  await clock.advance(100);
  // At once, after 50 ms; the next after 100 ms more.
  const tries = kernel.history.filter((command) => command === add).length;
  assert.equal(tries, 3);
  kernel.refuseAlways = undefined;
  await clock.advance(100);
  await reconciler.settled();
  assert.deepEqual(onOverlay(kernel, peer(1)), wantedText(peer(1)));
  stop();
});

test('two programs that fight over one entry do not make a hot loop', async () => {
  const { kernel, clock, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  const route = peer(1)[2];
  assert.ok(route?.kind === 'route');
  let stolen = 0;
  reconciler.observe((event) => {
    if (
      event.type === 'changed' &&
      event.object.kind === 'route' &&
      event.object.via === route.via &&
      stolen < 10_000
    ) {
      stolen++;
      void nextTurn().then(() =>
        kernel.interfere({ verb: 'replace', object: { ...route, via: ipv4(0x0a0a0a0a) } }),
      );
    }
  });
  kernel.interfere({ verb: 'replace', object: { ...route, via: ipv4(0x0a0a0a0a) } });
  for (let round = 0; round < 50; round++) await clock.advance(0);
  assert.equal(stolen, 30, 'at once');
  await clock.advance(10_000);
  assert.ok(stolen >= 39 && stolen <= 41, `then once a second: ${stolen}`);
  stop();
});

type Step =
  | { readonly what: 'join'; readonly peer: number; readonly mac: number }
  | { readonly what: 'leave'; readonly peer: number }
  | { readonly what: 'delete'; readonly peer: number; readonly part: number }
  | { readonly what: 'device'; readonly verb: 'remove' | 'set' }
  | { readonly what: 'lose'; readonly peer: number; readonly part: number }
  | { readonly what: 'pause' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    what: fc.constant('join'),
    peer: fc.integer({ min: 1, max: 6 }),
    mac: fc.integer({ min: 1, max: 2 }),
  }),
  fc.record({ what: fc.constant('leave'), peer: fc.integer({ min: 1, max: 6 }) }),
  fc.record({
    what: fc.constant('delete'),
    peer: fc.integer({ min: 1, max: 6 }),
    part: fc.integer({ min: 0, max: 2 }),
  }),
  fc.record({ what: fc.constant('device'), verb: fc.constantFrom('remove' as const, 'set' as const) }),
  fc.record({
    what: fc.constant('lose'),
    peer: fc.integer({ min: 1, max: 6 }),
    part: fc.integer({ min: 0, max: 2 }),
  }),
  fc.record({ what: fc.constant('pause') }),
) as fc.Arbitrary<Step>;

test('any sequence of leases and kernel changes ends with wanted = actual', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { kernel, clock, reconciler, owner, stop } = await start();
      owner.allowRemoval();
      const joined = new Map<number, KernelObject[]>();
      for (const item of steps) {
        if (item.what === 'join') {
          const objects = peer(item.peer, item.peer + 100 * item.mac);
          joined.set(item.peer, objects);
          owner.set(`p${item.peer}`, objects);
        } else if (item.what === 'leave') {
          joined.delete(item.peer);
          owner.set(`p${item.peer}`, []);
        } else if (item.what === 'pause') {
          await reconciler.settled();
        } else if (item.what === 'device') {
          kernel.interfere({ verb: item.verb, object: { kind: 'link', name: 'flannel.1', up: false } });
        } else {
          const object = joined.get(item.peer)?.[item.part];
          if (object === undefined || !kernel.has(keyOf(object))) continue;
          if (item.what === 'delete') kernel.interfere({ verb: 'remove', object });
          else kernel.loseSilently(keyOf(object));
        }
      }
      reconciler.check();
      await reconciler.settled();
      while (reconciler.status.failing.length > 0) await clock.advance(30_000);
      await reconciler.settled();
      const all = [1, 2, 3, 4, 5, 6].flatMap((n) => [...peer(n, n + 100), ...peer(n, n + 200)]);
      const expected = [...OWN, ...[...joined.values()].flat()];
      const found = onOverlay(kernel, [
        ...OWN,
        ...new Map(all.map((object) => [keyOf(object), object])).values(),
      ]);
      stop();
      assert.deepEqual(found, wantedText(expected));
    }),
    { numRuns: 1_000 },
  );
});

test('what drifts in bulk, while its events are muted, is repaired in the end', async () => {
  const { kernel, reconciler, owner, stop } = await start();
  owner.set('a', peer(1));
  await reconciler.settled();
  const [fdb] = peer(1);
  assert.ok(fdb);
  await owner.inBulk(async () => {
    for (let n = 2; n < 50; n++) owner.set(`peer ${n}`, peer(n));
    kernel.interfere({ verb: 'remove', object: fdb });
    await reconciler.settled();
    assert.ok(!kernel.has(keyOf(fdb)), 'no event was heard');
  });
  await reconciler.settled();
  const all = Array.from({ length: 49 }, (_, n) => peer(n + 1)).flat();
  assert.deepEqual(onOverlay(kernel, all), wantedText(all));
  kernel.interfere({ verb: 'remove', object: fdb });
  await reconciler.settled();
  assert.ok(kernel.has(keyOf(fdb)), 'events are heard again');
  stop();
});

test('full comparisons take the share of the time that they may, and no more', async () => {
  const clock = new FakeClock();
  let busyMs = 0;
  class SlowKernel extends MemoryKernel {
    override async scan(...given: Parameters<MemoryKernel['scan']>): Promise<void> {
      busyMs++;
      await clock.sleep(1);
      return super.scan(...given);
    }
  }
  const starting = start({ fullCheckMs: 10, fullCheckShare: 0.01, clock, kernel: new SlowKernel() });
  await clock.advance(50);
  const { reconciler, stop } = await starting;
  const [before, checks] = [busyMs, reconciler.status.checks];
  await clock.advance(100_000);
  const [busy, made] = [busyMs - before, reconciler.status.checks - checks];
  stop();
  assert.ok(busy >= 980 && busy <= 1_010, `${made} comparisons took ${busy} ms of 100 s`);
});
