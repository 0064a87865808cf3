import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flight } from '#src/diagnose/probes/flights.ts';
import { isDown } from '#src/diagnose/probes/judge.ts';
import { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { settle } from '#src/diagnose/probes/settle.ts';
import { ipv4 } from '#src/lib/ip.ts';

const MTU = 1_450;
const LOST = { isAnswered: false, at: 1_000 };

/** A peer that answered once, and then lost so many packets in a row inside. */
function silentFor(count: number): { peer: MeasuredPeer; flights: Flight[] } {
  const peer = new MeasuredPeer('p', {
    inside: ipv4(1),
    outside: ipv4(2),
    isCertain: true,
    responder: ipv4(1),
  });
  peer.inside.answered(1);
  const flights = Array.from({ length: count }, (): Flight => {
    return {
      peer,
      kind: 'small',
      way: 'inside',
      to: ipv4(1),
      bytes: 64,
      sentAt: 0,
      deadline: 500,
      isLate: false,
      number: 0,
    };
  });
  for (const flight of flights) {
    settle(flight, LOST, MTU);
    flight.isLate = true;
  }
  return { peer, flights };
}

test('the losses of an outage are forgotten, also when a packet that was late ends it', () => {
  const { peer, flights } = silentFor(4);
  assert.ok(isDown(peer));
  const last = flights.at(-1) ?? assert.fail();
  settle(last, { isAnswered: true, at: 2_000 }, MTU);
  assert.deepEqual([isDown(peer), peer.inside.sent, peer.inside.answeredCount], [false, 0, 0]);
  // Others of them come, too, and were sent before.
  settle(flights[1] ?? assert.fail(), { isAnswered: true, at: 2_001 }, MTU);
  assert.deepEqual([peer.inside.sent, peer.inside.answeredCount], [0, 0]);
});

test('one that was late in an outage that goes on ends nothing', () => {
  const { peer, flights } = silentFor(4);
  settle(flights[0] ?? assert.fail(), { isAnswered: true, at: 2_000 }, MTU);
  assert.deepEqual([isDown(peer), peer.inside.sent, peer.inside.answeredCount], [true, 5, 2]);
});

test('without an outage a packet that was late is an answer like others', () => {
  const { peer, flights } = silentFor(2);
  settle(flights[1] ?? assert.fail(), { isAnswered: true, at: 2_000 }, MTU);
  assert.deepEqual([peer.inside.sent, peer.inside.answeredCount, peer.inside.lostInRow], [3, 2, 0]);
});
