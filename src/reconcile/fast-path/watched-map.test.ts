import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MapEntry } from '#src/fast-path/map-layouts.ts';
import { WatchedMap } from '#src/reconcile/fast-path/watched-map.ts';
import type { Bpf } from '#src/sys/bpf.ts';

const LAYOUT = { type: 1, keySize: 1, valueSize: 2, maxEntries: 10, flags: 0 };

/** A map of the kernel's, by key. */
class FakeMap {
  readonly held = new Map<number, readonly [number, number]>();
  entries() {
    const all = [...this.held];
    return {
      count: all.length,
      keys: Uint8Array.from(all, ([key]) => key),
      values: Uint8Array.from(all.flatMap(([, value]) => value)),
    };
  }
}

function setUp() {
  const held = new FakeMap();
  const bpf = held as unknown as Bpf;
  const map = new WatchedMap(3, LAYOUT);
  const text = ({ key, value }: MapEntry) => `${key[0]}=${[...value].join(',')}`;
  return {
    held: held.held,
    map,
    list: () => map.list(bpf).map(text),
    compare() {
      const heard: string[] = [];
      map.compare(
        bpf,
        (entry) => heard.push(text(entry)),
        (entry) => heard.push(`gone ${text(entry)}`),
      );
      return heard;
    },
  };
}

test('what was listed or written here is no news', () => {
  const { held, map, list, compare } = setUp();
  held.set(1, [1, 1]);
  assert.deepEqual(list(), ['1=1,1']);
  assert.deepEqual(compare(), []);
  held.set(2, [2, 2]);
  map.note({ key: Uint8Array.of(2), value: Uint8Array.of(2, 2) });
  assert.deepEqual(compare(), []);
  held.delete(1);
  map.forget(Uint8Array.of(1));
  assert.deepEqual(compare(), []);
});

test('what others changed, added or removed is reported once', () => {
  const { held, list, compare } = setUp();
  held.set(1, [1, 1]).set(2, [2, 2]);
  list();
  held.set(1, [9, 9]).set(3, [3, 3]);
  held.delete(2);
  assert.deepEqual(compare(), ['1=9,9', '3=3,3', 'gone 2=2,2']);
  assert.deepEqual(compare(), []);
});

test('what was written here and overwritten before the next look is reported', () => {
  const { held, map, compare } = setUp();
  map.note({ key: Uint8Array.of(1), value: Uint8Array.of(1, 1) });
  held.set(1, [7, 7]);
  assert.deepEqual(compare(), ['1=7,7']);
});
