import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MapEntry } from '#src/fast-path/map-layouts.ts';
import { WatchedMap } from '#src/reconcile/fast-path/watched-map.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

const LAYOUT = { type: 1, keySize: 1, valueSize: 2, maxEntries: 10, flags: 0 };

/** A map of the kernel's, by key. */
class FakeMap {
  readonly held = new Map<number, readonly [number, number]>();
  *chunks() {
    // Two at a time.
    const all = [...this.held];
    for (let start = 0; start < all.length; start += 2) {
      const some = all.slice(start, start + 2);
      yield {
        count: some.length,
        keys: Uint8Array.from(some, ([key]) => key),
        values: Uint8Array.from(some.flatMap(([, value]) => value)),
      };
    }
  }
}

function setUp() {
  const held = new FakeMap();
  const bpf = held as unknown as Bpf;
  const budget = new TurnBudget(new FakeClock());
  const map = new WatchedMap(3, LAYOUT);
  const text = ({ key, value }: MapEntry) => `${key[0]}=${[...value].join(',')}`;
  return {
    held: held.held,
    map,
    async list() {
      const heard: string[] = [];
      await map.list(bpf, budget, (entry) => heard.push(text(entry)));
      return heard;
    },
    async compare() {
      const heard: string[] = [];
      await map.compare(
        bpf,
        budget,
        (entry) => heard.push(text(entry)),
        (entry) => heard.push(`gone ${text(entry)}`),
      );
      return heard;
    },
  };
}

test('what was listed or written here is no news', async () => {
  const { held, map, list, compare } = setUp();
  held.set(1, [1, 1]);
  assert.deepEqual(await list(), ['1=1,1']);
  assert.deepEqual(await compare(), []);
  held.set(2, [2, 2]);
  map.note({ key: Uint8Array.of(2), value: Uint8Array.of(2, 2) });
  assert.deepEqual(await compare(), []);
  held.delete(1);
  map.forget(Uint8Array.of(1));
  assert.deepEqual(await compare(), []);
});

test('what others changed, added or removed is reported once', async () => {
  const { held, list, compare } = setUp();
  held.set(1, [1, 1]).set(2, [2, 2]);
  await list();
  held.set(1, [9, 9]).set(3, [3, 3]);
  held.delete(2);
  assert.deepEqual(await compare(), ['1=9,9', '3=3,3', 'gone 2=2,2']);
  assert.deepEqual(await compare(), []);
});

test('what was written here and overwritten before the next look is reported', async () => {
  const { held, map, compare } = setUp();
  map.note({ key: Uint8Array.of(1), value: Uint8Array.of(1, 1) });
  held.set(1, [7, 7]);
  assert.deepEqual(await compare(), ['1=7,7']);
});
