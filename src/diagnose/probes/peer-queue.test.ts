import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerQueue } from '#src/diagnose/probes/peer-queue.ts';
import { ipv4 } from '#src/lib/ip.ts';

const ends = (n: number) => ({ inside: ipv4(n), outside: ipv4(n), responder: ipv4(n), isCertain: true });

test('peers have their turns in order, and one that comes has the last', () => {
  const queue = new PeerQueue();
  queue.put('one', ends(1));
  queue.put('two', ends(2));
  const seen: string[] = [];
  for (let turn = 0; turn < 5; turn++) {
    const { first } = queue;
    assert.ok(first);
    seen.push(first.name);
    queue.rotate(first);
    if (turn === 0) queue.put('three', ends(3));
  }
  assert.deepEqual(seen, ['one', 'two', 'one', 'three', 'two']);
});

test('a peer has a record from its first turn on, and keeps it while its ends are the same', () => {
  const queue = new PeerQueue();
  queue.put('one', ends(1));
  assert.equal(queue.get('one'), undefined);
  assert.equal(
    queue.isEach(() => true),
    false,
  );
  const { first } = queue;
  assert.equal(queue.get('one'), first);
  queue.put('one', ends(1));
  assert.equal(queue.get('one'), first);
  assert.equal(
    queue.isEach(() => true),
    true,
  );
  queue.put('one', ends(2));
  assert.equal(queue.get('one'), undefined);
  assert.equal(first?.isGone, true);
  queue.clear();
  assert.deepEqual([queue.size, queue.first, queue.isEach(() => true)], [0, undefined, false]);
});

test('the head is another one when it goes, gets other ends, or had its turn', () => {
  const queue = new PeerQueue();
  for (const [n, name] of ['one', 'two', 'three'].entries()) queue.put(name, ends(n));
  const head = () => queue.first?.name;
  assert.equal(head(), 'one');
  queue.remove('one');
  assert.equal(head(), 'two');
  queue.put('two', ends(9));
  assert.equal(head(), 'three');
  const { first } = queue;
  assert.ok(first);
  queue.rotate(first);
  assert.equal(head(), 'two');
  assert.equal(queue.first?.ends.inside, ipv4(9));
  queue.clear();
  assert.equal(head(), undefined);
  queue.put('four', ends(4));
  assert.equal(head(), 'four');
});
