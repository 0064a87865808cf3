import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerSight } from '#src/backend/changing.ts';
import { PathMoves } from '#src/backend/path-moves.ts';

const OWN = { isAnnounced: true, reversePath: new Map<string, string>(), reversePathBefore: {} };
const SIGHT: PeerSight = { toKey: 'k', speaks: 'from' };
const OLD: PeerSight = { toKey: undefined, speaks: 'from' };

const moving = (...peers: [name: string, sight: PeerSight][]): PathMoves => {
  const moves = new PathMoves('moving');
  for (const [name, sight] of peers) moves.see(name, sight, true);
  return moves;
};
const movedOf = (moves: PathMoves): string[] => {
  const { moved } = moves.step(OWN);
  return moved === 'all' ? ['all'] : [...moved];
};

test('a peer moves once its new path was tried', () => {
  const moves = moving(['a', SIGHT], ['b', OLD]);
  assert.deepEqual([...moves.due(0, 9)], [['a', 'k']]);
  assert.deepEqual(movedOf(moves), []);
  moves.note('a', 'k', undefined, 0);
  assert.deepEqual(movedOf(moves), ['a']);
  assert.deepEqual([...moves.due(0, 9)], []);
  const { done, of, waits } = moves.step(OWN);
  assert.deepEqual([done, of, waits], [1, 2, { b: 'it has not announced the new path' }]);
});

test('it is tried again after a pause that grows, and says why', () => {
  const moves = moving(['a', SIGHT]);
  const pauses: number[] = [];
  for (let now = 0, count = 0; count < 6; count++) {
    moves.note('a', 'k', 'no answer', now);
    assert.equal(moves.due(now, 9).size, 0);
    pauses.push(moves.nextTry - now);
    now = moves.nextTry;
    assert.equal(moves.due(now, 9).size, 1);
  }
  assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  assert.deepEqual(moves.step(OWN).waits, { a: 'no answer' });
});

test('another announcement, or none, moves it back until that was tried', () => {
  const moves = moving(['a', SIGHT]);
  moves.note('a', 'k', undefined, 0);
  moves.see('a', { ...SIGHT, toKey: 'k2' }, true);
  assert.deepEqual(movedOf(moves), []);
  // Tried as it was before.
  moves.note('a', 'k', undefined, 0);
  assert.deepEqual(movedOf(moves), []);
  moves.note('a', 'k2', undefined, 0);
  assert.deepEqual(movedOf(moves), ['a']);
  moves.see('a', OLD, true);
  assert.deepEqual(movedOf(moves), []);
});

test('nobody is tried or moved before, and after an abort', () => {
  const moves = new PathMoves('prepare');
  moves.see('a', SIGHT, true);
  assert.equal(moves.due(0, 9).size, 0);
  moves.note('a', 'k', undefined, 0);
  assert.deepEqual(movedOf(moves), []);
  moves.use('moving');
  moves.note('a', 'k', undefined, 0);
  moves.use('aborted');
  assert.deepEqual(movedOf(moves), []);
  moves.use('moving');
  assert.deepEqual(movedOf(moves), []);
});

test('at the end all go by the new path, and are done with when their leases name it', () => {
  const moves = moving(['a', SIGHT]);
  moves.use('settling');
  assert.deepEqual(movedOf(moves), ['all']);
  assert.equal(moves.step(OWN).done, 0);
  moves.see('a', { ...SIGHT, speaks: 'to' }, true);
  assert.equal(moves.step(OWN).done, 1);
});

test('flannel holds it up by name', () => {
  const moves = new PathMoves('prepare');
  moves.see('a', OLD, false);
  assert.deepEqual(moves.step(OWN).waits, { a: 'it runs flannel, which takes no part' });
});

test('few of those that are waited for are named, and all are counted', () => {
  const moves = new PathMoves('prepare');
  for (let count = 0; count < 50; count++) moves.see(`p${count}`, OLD, true);
  const { done, of, waits } = moves.step(OWN);
  assert.deepEqual([done, of, Object.keys(waits).length], [0, 50, 8]);
});
