import { type TestContext, test } from 'node:test';
import type { HostEvent } from '#src/observe/api.ts';
import { feedEvents } from '#src/observe/event-feed.ts';
import { EventRing } from '#src/observe/event-ring.ts';
import { EventLines } from '#src/observe/event-stream.ts';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { until } from '#src/sys/until.ts';
import { openAnswer } from '../../test/support/open-answer.ts';

const note = (ring: EventRing, subject: string, text = 'was gone'): void =>
  ring.note({ type: 'repair', severity: 'info', subject, text });

/** One reader of a ring. */
async function reader(t: TestContext, { after = 0, stallMs = 60_000, clock = new FakeClock() } = {}) {
  const ring = new EventRing(clock);
  for (const subject of ['a', 'b']) note(ring, subject);
  const { answer, head } = await openAnswer(t);
  const fed = feedEvents({ ring, clock }, answer, { after, stallMs });
  const response = await head;
  response.on('error', () => {});
  return { ring, clock, response, fed };
}

test('a reader gets what is newer than its id, then each event as it comes, and a heartbeat', async (t) => {
  const { ring, clock, response, fed } = await reader(t, { after: 1 });
  const lines = new EventLines();
  const got: HostEvent[] = [];
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    got.push(...lines.take(chunk));
  });
  const subjects = (...wanted: string[]) =>
    until(() => got.map(({ subject, count }) => `${subject}${count}`).join() === wanted.join() || undefined, {
      what: `events ${wanted}`,
    });
  await subjects('b1');
  await clock.advance(100);
  note(ring, 'c');
  await subjects('b1', 'c1');
  // A burst is written together, in the ring's order.
  note(ring, 'd');
  note(ring, 'c');
  note(ring, 'd');
  await clock.advance(100);
  await subjects('b1', 'c1', 'c2', 'd2');
  await clock.advance(100);
  const before = text.length;
  await clock.advance(10_000);
  await until(() => text.slice(before) === ':\n\n' || undefined, { what: 'a heartbeat' });
  response.destroy();
  await fed;
});

test('a reader that does not read is ended, and costs one piece of memory', async (t) => {
  const ring = await reader(t, { stallMs: 50, clock: systemClock as FakeClock });
  // The socket takes some hundred KiB, and the ring has no more than its thousand events.
  const noting = setInterval(() => {
    for (let n = 0; n < 20; n++) note(ring.ring, 'd', `${n} ${'x'.repeat(20_000)}`);
  }, 5);
  t.after(() => clearInterval(noting));
  await ring.fed;
});
