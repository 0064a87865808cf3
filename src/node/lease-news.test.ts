import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NotedEvent } from '#src/lib/host-events.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';
import { LeaseNews } from '#src/node/lease-news.ts';

function newsOf(...messages: LeaseChange[][]): string[] {
  const noted: NotedEvent[] = [];
  const news = new LeaseNews({ note: (event) => noted.push(event) });
  for (const changes of messages) {
    news.take(changes);
    news.note();
  }
  return noted.map(({ type, severity, subject, text }) => `${type} ${severity} ${subject}: ${text}`);
}
const gone = (n: number): LeaseChange => ({ kind: 'removed', name: `10.5.${n}.0-24` });
const refused = (n: number): LeaseChange => ({ kind: 'quarantined', name: `10.5.${n}.0-24`, reason: 'r' });

test('few leases are named, each with what became of it', () => {
  assert.deepEqual(newsOf([gone(1), refused(2)], [], [gone(3)]), [
    'lease info 10.5.1.0-24: It is gone',
    'lease warning 10.5.2.0-24: It is not used: r',
    'lease info 10.5.3.0-24: It is gone',
  ]);
});

test('many leases of one message are one event that says how many', () => {
  const many = Array.from({ length: 200 }, (_, n) => gone(n));
  assert.deepEqual(newsOf([...many, refused(1)], [refused(2)]), [
    'lease info leases: 200 leases are gone',
    'lease warning 10.5.1.0-24: It is not used: r',
    'lease warning 10.5.2.0-24: It is not used: r',
  ]);
});
