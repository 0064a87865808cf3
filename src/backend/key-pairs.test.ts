import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KeyNumbers, type KeyRole, keyPairs } from '#src/backend/key-pairs.ts';

const ROWS: readonly [
  what: string,
  own: KeyNumbers,
  peer: KeyNumbers,
  current: KeyRole | undefined,
  next?: KeyRole,
][] = [
  ['both at rest', { current: 1 }, { current: 1 }, 'current'],
  ['at rest, with other numbers', { current: 4 }, { current: 1 }, 'current'],
  ['both rotate', { current: 1, next: 2 }, { current: 1, next: 2 }, 'current', 'next'],
  ['both rotate, with other numbers', { current: 1, next: 2 }, { current: 4, next: 5 }, 'current', 'next'],
  ['we rotate, it does not yet', { current: 1, next: 2 }, { current: 1 }, 'current'],
  ['we rotate, it is through', { current: 1, next: 2 }, { current: 2 }, undefined, 'current'],
  ['it rotates, we do not yet', { current: 1 }, { current: 1, next: 2 }, 'current'],
  ['it rotates, we are through', { current: 2 }, { current: 1, next: 2 }, 'next'],
];

for (const [what, own, peer, current, next] of ROWS)
  test(`tunnels when ${what}`, () => {
    assert.deepEqual(keyPairs(own, peer), {
      ...(current !== undefined && { current }),
      ...(next !== undefined && { next }),
    });
  });

test('a tunnel that one end makes is made by the other, whatever the numbers', () => {
  const all: KeyNumbers[] = [0, 1, 2, 3].flatMap((current) => [
    { current },
    ...[1, 2, 3, 4].filter((next) => next > current).map((next) => ({ current, next })),
  ]);
  for (const own of all)
    for (const peer of all) {
      const [here, there] = [keyPairs(own, peer), keyPairs(peer, own)];
      for (const [ours, theirs] of Object.entries(here))
        assert.equal(there[theirs as KeyRole], ours, JSON.stringify([own, peer]));
      assert.ok(here.current !== undefined || here.next !== undefined, JSON.stringify([own, peer]));
    }
});
