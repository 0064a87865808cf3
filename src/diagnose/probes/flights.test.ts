import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Flight, Flights } from '#src/diagnose/probes/flights.ts';
import { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { type Ip, ipv4 } from '#src/lib/ip.ts';

const PEER = ipv4(0x0a000100);
const LATE_MS = 4_000;

function flightOf(deadline: number, to: Ip = PEER): Flight {
  const peer = new MeasuredPeer('10.0.1.0-24', {
    inside: PEER,
    outside: PEER,
    responder: PEER,
    isCertain: true,
  });
  return { peer, way: 'inside', kind: 'small', to, bytes: 28, sentAt: 0, deadline, isLate: false, number: 0 };
}

test('each request is late once, at its own time', () => {
  const flights = new Flights();
  const [soon, later] = [flightOf(100), flightOf(300)];
  flights.add(1, later);
  flights.add(2, soon);
  assert.equal(flights.nextDeadline, 100);
  assert.deepEqual(flights.expire(99), []);
  assert.deepEqual(flights.expire(100), [soon]);
  assert.equal(flights.nextDeadline, 300);
  assert.deepEqual(flights.expire(299), []);
  assert.deepEqual(flights.expire(1_000), [later]);
  assert.equal(flights.nextDeadline, Number.POSITIVE_INFINITY);
});

test('one that comes after a look with an earlier end is not forgotten', () => {
  const flights = new Flights();
  flights.add(1, flightOf(1_000));
  assert.deepEqual(flights.expire(10), []);
  const early = flightOf(50);
  flights.add(2, early);
  assert.deepEqual(flights.expire(50), [early]);
});

test('an answer counts for four seconds more, and then no more', () => {
  const flights = new Flights();
  const [first, second] = [flightOf(100), flightOf(100)];
  flights.add(1, first);
  flights.add(2, second);
  flights.expire(100);
  flights.expire(100 + LATE_MS);
  assert.equal(flights.land(1, PEER), first);
  flights.expire(101 + LATE_MS);
  assert.equal(flights.land(2, PEER), undefined);
});

test('requests to a peer that has gone are forgotten when their time is up', () => {
  const flights = new Flights();
  const flight = flightOf(100);
  flights.add(1, flight);
  flight.peer.isGone = true;
  flights.expire(100);
  assert.equal(flights.land(1, PEER), undefined);
});

test('all at once are forgotten, and new ones are followed', () => {
  const flights = new Flights();
  flights.add(1, flightOf(100));
  flights.clear();
  assert.deepEqual(flights.expire(500), []);
  const flight = flightOf(600);
  flights.add(2, flight);
  assert.deepEqual(flights.expire(600), [flight]);
});
