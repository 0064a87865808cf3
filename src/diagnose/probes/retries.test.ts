import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { Retries } from '#src/diagnose/probes/retries.ts';
import { ipv4 } from '#src/lib/ip.ts';

const peer = (name: string) =>
  new MeasuredPeer(name, { inside: ipv4(1), outside: ipv4(2), responder: ipv4(1), isCertain: true });

test('the earliest comes first, and those of one time in their order', () => {
  const retries = new Retries();
  const one = peer('one');
  for (const [what, dueAt] of [
    ['tcp', 20],
    ['inside', 10],
    ['outside', 20],
    ['mtu', 5],
  ] as const)
    retries.add({ peer: one, what, dueAt });
  assert.equal(retries.due(4), undefined);
  assert.equal(retries.nextAt, 5);
  const order: string[] = [];
  for (let next = retries.due(20); next !== undefined; next = retries.due(20)) {
    order.push(next.what);
    retries.remove(next);
  }
  assert.deepEqual(order, ['mtu', 'inside', 'tcp', 'outside']);
  assert.equal(retries.nextAt, Number.POSITIVE_INFINITY);
});

test('a peer that has gone is not tried again', () => {
  const retries = new Retries();
  const [gone, there] = [peer('gone'), peer('there')];
  retries.add({ peer: gone, what: 'inside', dueAt: 1 });
  retries.add({ peer: there, what: 'inside', dueAt: 2 });
  gone.isGone = true;
  assert.equal(retries.due(2)?.peer, there);
});
