import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NotedEvent } from '#src/lib/host-events.ts';
import { EventRing } from '#src/observe/event-ring.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const repair = (subject: string, text = 'was gone'): NotedEvent => ({
  type: 'repair',
  severity: 'info',
  subject,
  text,
});

function ringOf(size?: number) {
  const clock = new FakeClock();
  const ring = new EventRing(clock, size === undefined ? {} : { size });
  const seen = (after?: number) =>
    ring.read(after).events.map(({ id, subject, count }) => [id, subject, count]);
  return { clock, ring, seen };
}

test('an event has an id and a time; an event of a network has its name', () => {
  const { ring } = ringOf();
  ring.note(repair('a'));
  ring.of('blue').note(repair('a'));
  ring.of(undefined).note(repair('b'));
  const common = {
    at: '2026-01-01T00:00:00.000Z',
    type: 'repair',
    severity: 'info',
    text: 'was gone',
    count: 1,
  };
  const firstAt = common.at;
  assert.deepEqual(ring.read(), {
    events: [
      { ...common, id: 1, subject: 'a', firstAt },
      { ...common, id: 2, network: 'blue', subject: 'a', firstAt },
      { ...common, id: 3, subject: 'b', firstAt },
    ],
    forgotten: 0,
  });
});

test('a repetition in a row takes the place of the event before, however late it comes', async () => {
  const { ring, clock, seen } = ringOf();
  ring.note(repair('a'));
  await clock.advance(3_600_000);
  ring.note(repair('a'));
  assert.deepEqual(seen(), [[2, 'a', 2]]);
  const [event] = ring.read().events;
  assert.deepEqual([event?.firstAt, event?.at], ['2026-01-01T00:00:00.000Z', '2026-01-01T01:00:00.000Z']);
});

test('what happens again within a minute is a repetition; later it is another event', async () => {
  const { ring, clock, seen } = ringOf();
  ring.note(repair('a'));
  ring.note(repair('b'));
  await clock.advance(60_000);
  ring.note(repair('a'));
  assert.deepEqual(seen(), [
    [2, 'b', 1],
    [3, 'a', 2],
  ]);
  await clock.advance(60_001);
  ring.note(repair('b'));
  assert.deepEqual(seen(), [
    [2, 'b', 1],
    [3, 'a', 2],
    [4, 'b', 1],
  ]);
  ring.note(repair('b', 'differs'));
  assert.equal(ring.read().events.length, 4);
});

test('a reader gets what is newer, and everything when its id is of an earlier run', () => {
  const { ring, seen } = ringOf();
  ring.note(repair('a'));
  ring.note(repair('b'));
  ring.note(repair('a'));
  assert.deepEqual(seen(1), [
    [2, 'b', 1],
    [3, 'a', 2],
  ]);
  assert.deepEqual(seen(3), []);
  assert.equal(seen(4).length, 2);
});

test('the ring forgets its oldest events, and says how many', async () => {
  const { ring, clock, seen } = ringOf(3);
  for (const subject of ['a', 'b', 'c', 'd', 'e']) ring.note(repair(subject));
  assert.deepEqual(
    seen().map(([, subject]) => subject),
    ['c', 'd', 'e'],
  );
  assert.equal(ring.read().forgotten, 2);
  await clock.advance(10);
  // What is forgotten is not repeated.
  ring.note(repair('a'));
  assert.deepEqual(seen().at(-1), [6, 'a', 1]);
});

test('a flood of one type is one event, and does not push out the others', async () => {
  const { ring, clock, seen } = ringOf();
  ring.note({ type: 'ready', severity: 'info', subject: 'network', text: 'ready' });
  for (let n = 0; n < 5_000; n++) ring.note(repair(`device ${n}`));
  assert.equal(seen().length, 22);
  assert.deepEqual(seen().at(-1), [5_001, 'more', 4_980]);
  await clock.advance(1_000);
  ring.note(repair('device 4999'));
  assert.deepEqual(seen().at(-1), [5_002, 'device 4999', 1]);
});

test('a listener hears of each event until it stops', () => {
  const { ring } = ringOf();
  let heard = 0;
  const stop = ring.follow(() => heard++);
  ring.note(repair('a'));
  ring.note(repair('a'));
  stop();
  ring.note(repair('b'));
  assert.equal(heard, 2);
});
