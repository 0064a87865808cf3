import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import {
  deviceOf,
  type KernelObject,
  KINDS,
  keyOf,
  type Link,
  type Route,
  RTPROT_WEFT,
} from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

/*
 * One host with two networks, each with a device of its own, and routes that both may want. Whatever they set, withdraw
 * and let go, and whatever others do to the kernel meanwhile: in the end the kernel holds what a list of wishes says.
 */
const NAMES = ['blue', 'red'] as const;
type Name = (typeof NAMES)[number];

const link = (name: string): Link => ({ kind: 'link', name, type: 'dummy', up: true });
/** Both networks' devices are in one bridge, which is another's. */
const ownLink = (name: string): Link => ({ ...link(name), master: 'br0' });
const port = (device: string, n: number): KernelObject => ({
  kind: 'bridge-port',
  device,
  learning: n === 1,
  neighSuppress: n === 2,
  flood: true,
  mcastFlood: true,
  bcastFlood: true,
  locked: false,
  hairpin: n === 3,
  isolated: false,
});
/** The slot is the MAC's in the bridge: two networks may want it. */
const bridgeFdb = (device: string, n: number): KernelObject => ({
  kind: 'bridge-fdb',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)),
  bridge: 'br0',
  device,
  static: true,
});
const fdb = (device: string, n: number, destination = n): KernelObject => ({
  kind: 'fdb',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)),
  destination: ipv4(0xac100000 + destination),
  device,
  permanent: true,
});
/** The slot is its destination's alone: two networks may want it. */
const route = (device: string, n: number): Route => ({
  kind: 'route',
  destination: prefix4(ipv4(0x0a000000 + n * 256), 24),
  type: 'unicast',
  device,
  onlink: true,
  metric: 0,
  protocol: RTPROT_WEFT,
  scope: 0,
});
const scopesOf = (device: string): readonly Scope[] => [
  { kinds: KINDS.names, filter: { device }, owns: ({ kind }) => kind !== 'link' },
  {
    kinds: ['route'],
    filter: { protocol: RTPROT_WEFT },
    owns: (object) => object.kind === 'route' && object.device === device,
  },
];
const FOREIGN: KernelObject[] = [
  link('br0'),
  link('eth0'),
  fdb('eth0', 1),
  { ...route('eth0', 9), protocol: 4 },
];

/** What an owner wants in a slot. */
interface Wish {
  readonly name: Name;
  readonly subject: string;
  readonly object: KernelObject;
}

/** The naive truth: for each slot the wishes in the order in which their owners came. */
class Model {
  readonly wishes = new Map<string, Wish[]>();
  readonly mayRemove = new Set<Name>();

  set(name: Name, subject: string, objects: readonly KernelObject[]): void {
    for (const object of objects) {
      const key = keyOf(object);
      const list = this.wishes.get(key) ?? [];
      const at = list.findIndex((wish) => wish.name === name);
      list.splice(at < 0 ? list.length : at, at < 0 ? 0 : 1, { name, subject, object });
      this.wishes.set(key, list);
    }
    const keys = objects.map(keyOf);
    this.#drop((wish, key) => wish.name === name && wish.subject === subject && !keys.includes(key));
  }

  release(name: Name): void {
    this.mayRemove.delete(name);
    this.#drop((wish) => wish.name === name);
  }

  #drop(is: (wish: Wish, key: string) => boolean): void {
    for (const [key, list] of this.wishes) {
      const kept = list.filter((wish) => !is(wish, key));
      if (kept.length > 0) this.wishes.set(key, kept);
      else this.wishes.delete(key);
    }
  }

  get wanted(): KernelObject[] {
    return [...this.wishes.values()].flatMap(([first]) => (first === undefined ? [] : [first.object]));
  }

  /** Keys of slots that an owner wants and another one has. */
  lost(name: Name): string[] {
    return [...this.wishes]
      .filter(([, [first, ...others]]) => others.some((wish) => wish.name === name && !same(wish, first)))
      .map(([key]) => key)
      .sort();
  }

  isRemoved(object: KernelObject): boolean {
    if (object.kind === 'link' || this.wishes.has(keyOf(object))) return false;
    return this.mayRemove.has(deviceOf(object) as Name);
  }
}

const text = (object: KernelObject): string => `${object.kind} ${KINDS.of(object).format(object)}`;
const same = (a: Wish, b: Wish | undefined): boolean => b !== undefined && text(a.object) === text(b.object);

type Step =
  | { readonly do: 'set'; readonly name: Name; readonly subject: string; readonly objects: KernelObject[] }
  | { readonly do: 'replace' | 'remove' | 'lose'; readonly object: KernelObject }
  | { readonly do: 'down' | 'unmake' | 'allow' | 'release' | 'own'; readonly name: Name }
  | { readonly do: 'bulk'; readonly name: Name; readonly steps: readonly Step[] }
  | { readonly do: 'settle' | 'overrun' | 'second' };

const name = fc.constantFrom(...NAMES);
const small = fc.integer({ min: 1, max: 3 });
const objectOf = (device: string): fc.Arbitrary<KernelObject> =>
  fc.oneof(
    fc.tuple(small, fc.integer({ min: 7, max: 8 })).map(([n, to]) => fdb(device, n, to)),
    small.map((n) => route(device, n)),
    small.map((n) => bridgeFdb(device, n)),
    small.map((n) => port(device, n)),
  );
const anyObject = name.chain(objectOf);
const simple: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: name.chain((owner) =>
      fc.record({
        do: fc.constant('set' as const),
        name: fc.constant(owner),
        subject: fc.constantFrom('a', 'b'),
        objects: fc.uniqueArray(objectOf(owner), { maxLength: 4, selector: keyOf }),
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('replace' as const, 'remove' as const, 'lose' as const),
      object: anyObject,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'down' as const,
        'unmake' as const,
        'allow' as const,
        'release' as const,
        'own' as const,
      ),
      name,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('settle' as const, 'overrun' as const, 'second' as const),
    }),
  },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: simple },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('bulk' as const),
      name,
      steps: fc.array(
        simple.filter((inner) => inner.do !== 'release'),
        { maxLength: 5 },
      ),
    }),
  },
);

/** A host that plays steps, and the model that hears of the same. */
class Play {
  readonly kernel = new MemoryKernel();
  readonly clock = new FakeClock();
  readonly model = new Model();
  readonly stopper = new AbortController();
  readonly #owners = new Map<Name, Owner>();
  readonly reconciler = new Reconciler(
    { actuators: [this.kernel], clock: this.clock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  /** What a released owner left behind, and nobody has touched since. */
  #left = new Map<string, string>();
  #isHidden = false;

  /** `late`: turns of the event loop until the kernel reports a change. */
  async start(late: number): Promise<void> {
    this.kernel.reportsAfter = late;
    for (const object of FOREIGN) this.kernel.interfere({ verb: 'add', object });
    for (const name of NAMES) this.#own(name);
    await this.reconciler.start(this.stopper.signal);
  }

  #own(name: Name): void {
    if (this.#owners.has(name)) return;
    const scopes = scopesOf(name);
    const owner = this.reconciler.own({ name, scopes: () => scopes });
    this.#owners.set(name, owner);
    this.#set(name, owner, 'own', [ownLink(name)]);
    for (const key of this.#left.keys()) if (key.endsWith(name)) this.#left.delete(key);
  }

  #set(name: Name, owner: Owner, subject: string, objects: readonly KernelObject[]): void {
    owner.set(subject, objects);
    this.model.set(name, subject, objects);
    for (const object of objects) this.#forget(keyOf(object));
  }

  #forget(key: string): void {
    for (const name of NAMES) this.#left.delete(`${key} of ${name}`);
  }

  async play(step: Step): Promise<void> {
    const owner = 'name' in step ? this.#owners.get(step.name) : undefined;
    switch (step.do) {
      case 'set':
        if (owner !== undefined) this.#set(step.name, owner, step.subject, step.objects);
        return;
      case 'replace':
        if (this.kernel.has(`link ${deviceOf(step.object)}`))
          this.kernel.interfere({ verb: 'replace', object: step.object });
        return this.#forget(keyOf(step.object));
      case 'remove':
        this.kernel.interfere({ verb: 'remove', object: step.object });
        return this.#forget(keyOf(step.object));
      case 'lose':
        this.kernel.loseSilently(keyOf(step.object));
        this.#isHidden = true;
        return this.#forget(keyOf(step.object));
      case 'down':
      case 'unmake': {
        const verb = step.do === 'down' ? 'set' : 'remove';
        if (this.kernel.has(`link ${step.name}`))
          this.kernel.interfere({ verb, object: { kind: 'link', name: step.name, up: false } });
        this.#left.clear();
        return;
      }
      case 'allow':
        owner?.allowRemoval();
        if (owner !== undefined) this.model.mayRemove.add(step.name);
        return;
      case 'release':
        if (owner === undefined) return;
        this.#owners.delete(step.name);
        this.model.release(step.name);
        await owner.release();
        for (const object of await this.kernel.dump({ kinds: KINDS.names, device: step.name }))
          if (!this.model.wishes.has(keyOf(object)))
            this.#left.set(`${keyOf(object)} of ${step.name}`, text(object));
        return;
      case 'own':
        return this.#own(step.name);
      case 'bulk': {
        const work = async () => {
          for (const inner of step.steps) await this.play(inner);
        };
        await (owner === undefined ? work() : owner.inBulk(work));
        return;
      }
      case 'settle':
        return this.reconciler.settled();
      case 'overrun':
        return this.kernel.emit({ type: 'overrun' });
      case 'second':
        return this.clock.advance(1_000);
    }
  }

  async end(): Promise<void> {
    // What no event reports, a comparison has to find.
    if (this.#isHidden) this.reconciler.check();
    await this.reconciler.settled();
    const isFailing = () =>
      this.reconciler.status.failing.some(({ reason }) => !reason.includes('has it first'));
    for (let round = 0; round < 10 && isFailing(); round++) await this.clock.advance(30_000);
    await this.reconciler.settled();
    for (let turn = 0; turn < 10 * this.kernel.reportsAfter; turn++) await nextTurn();
    await this.reconciler.settled();
    this.stopper.abort();
  }

  assertRight(): void {
    const found = this.kernel.text;
    // Of a link more is found than is wanted.
    for (const object of this.model.wanted)
      if (object.kind === 'link') assert.ok(this.kernel.has(keyOf(object)), keyOf(object));
      else assert.ok(found.includes(text(object)), `missing: ${text(object)}\n${found.join('\n')}`);
    for (const object of FOREIGN)
      if (object.kind !== 'link') assert.ok(found.includes(text(object)), `foreign: ${text(object)}`);
    for (const left of this.#left.values())
      if (!left.startsWith('link')) assert.ok(found.includes(left), `left by a release: ${left}`);
    const removed = NAMES.flatMap((device) =>
      [1, 2, 3].flatMap((n) => [
        fdb(device, n, 7),
        fdb(device, n, 8),
        route(device, n),
        bridgeFdb(device, n),
      ]),
    ).filter((object) => this.model.isRemoved(object) && found.includes(text(object)));
    assert.deepEqual(removed.map(text), [], 'stale');
    for (const [name, owner] of this.#owners) {
      assert.deepEqual(owner.status.failing.map(({ key }) => key).sort(), this.model.lost(name), name);
      const wanted = [...this.model.wishes.values()].filter(([first]) => first?.name === name);
      assert.equal(owner.status.wanted, wanted.length, name);
      // Nothing waits: all that counts is as wanted, kind by kind.
      for (const [kind, count] of owner.kinds) {
        const ofKind = wanted.filter(([first]) => first?.object.kind === kind).length;
        assert.deepEqual([count.wanted, count.found], [ofKind, ofKind], `${name}: ${kind}`);
      }
    }
  }
}

/** A slot that both want and give up, before one of them may remove what is in it. */
const fdbOn = (device: string) =>
  ({ kind: 'bridge-fdb', mac: '02:00:00:00:00:02' as Mac, bridge: 'br0', device, static: true }) as const;
const STRAY: Step[] = [
  { do: 'set', name: 'red', subject: 'b', objects: [fdbOn('red')] },
  { do: 'bulk', name: 'blue', steps: [{ do: 'set', name: 'blue', subject: 'a', objects: [fdbOn('blue')] }] },
  { do: 'set', name: 'red', subject: 'b', objects: [] },
  { do: 'set', name: 'blue', subject: 'a', objects: [] },
  { do: 'settle' },
  { do: 'allow', name: 'red' },
];

/** A slot that one owner has from another, which is looked at because it ends its bulk work. */
const HANDED_OVER: Step[] = [
  { do: 'set', name: 'red', subject: 'b', objects: [fdbOn('red')] },
  { do: 'set', name: 'red', subject: 'a', objects: [fdbOn('red')] },
  { do: 'set', name: 'blue', subject: 'b', objects: [fdbOn('blue')] },
  {
    do: 'bulk',
    name: 'red',
    steps: [
      { do: 'set', name: 'red', subject: 'a', objects: [] },
      { do: 'allow', name: 'blue' },
    ],
  },
  { do: 'set', name: 'blue', subject: 'b', objects: [] },
];
/** Another program's route, which goes with its device, unreported, before it is wanted. */
const GONE: Step[] = [
  { do: 'replace', object: route('blue', 3) },
  { do: 'down', name: 'blue' },
  { do: 'set', name: 'blue', subject: 'a', objects: [route('blue', 3)] },
];

/** A device that is removed again before its making has been taken note of. */
const TWICE: Step[] = [
  { do: 'replace', object: route('red', 1) },
  { do: 'unmake', name: 'red' },
  { do: 'release', name: 'blue' },
  { do: 'replace', object: route('blue', 1) },
  // Takes a turn, and does nothing.
  { do: 'set', name: 'blue', subject: 'a', objects: [] },
  { do: 'unmake', name: 'red' },
];

test('any interleaving of two owners and of other programs ends with what a list of wishes says', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.integer({ min: 0, max: 2 }),
      async (steps, late) => {
        const play = new Play();
        await play.start(late);
        for (const item of steps) await play.play(item);
        await play.end();
        play.assertRight();
      },
    ),
    {
      numRuns: 2_500,
      examples: [
        [STRAY, 0],
        [HANDED_OVER, 0],
        [GONE, 0],
        [TWICE, 0],
      ],
    },
  );
});
