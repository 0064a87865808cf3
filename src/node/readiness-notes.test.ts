import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NotedEvent } from '#src/lib/host-events.ts';
import { ReadinessNotes } from '#src/node/readiness-notes.ts';

test('a change is noted once, and a figure that counts on is no change', () => {
  const noted: NotedEvent[] = [];
  const notes = new ReadinessNotes({ note: (event) => noted.push(event) }, 'blue');
  const looks = [
    ['waiting for a lease'],
    ['waiting for a lease'],
    [],
    [],
    ['etcd: 1.5 s', 'b'],
    ['etcd: 30 s', 'b'],
    ['b'],
  ];
  for (const troubles of looks) notes.look(troubles);
  assert.deepEqual(
    noted.map(({ type, subject, text }) => [type, subject, text]),
    [
      ['not-ready', 'blue', 'Not ready: waiting for a lease'],
      ['ready', 'blue', 'Ready'],
      ['not-ready', 'blue', 'Not ready: etcd: 1.5 s; b'],
      ['not-ready', 'blue', 'Not ready: b'],
    ],
  );
});
