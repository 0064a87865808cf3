import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventLine, formatEvents } from '#src/cli/events-command.ts';
import type { HostEvent } from '#src/observe/api.ts';

const NOW = new Date(2026, 4, 7, 12, 30, 0).getTime();
const PLAIN = { width: 100, hasColour: false };
const ago = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();

const REPAIR: HostEvent = {
  id: 7,
  at: ago(10),
  type: 'repair',
  severity: 'warning',
  subject: '10.5.2.0-24',
  text: 'route 10.5.2.0/24 was gone: it is there again',
  count: 12,
  firstAt: ago(70),
};
const START: HostEvent = {
  ...REPAIR,
  type: 'start',
  severity: 'info',
  subject: 'host',
  text: 'weft 1.2.3 started',
  count: 1,
  at: ago(90_000),
};

test('events as a table, the newest last', () => {
  assert.deepEqual(formatEvents({ events: [START, REPAIR], forgotten: 3 }, PLAIN, NOW), [
    '3 older events are forgotten',
    'TIME                 COUNT  FIRST     TYPE    SUBJECT      EVENT',
    '2026-05-06 11:30:00      1  -         start   host         weft 1.2.3 started',
    '12:29:50                12  12:28:50  repair  10.5.2.0-24  route 10.5.2.0/24 was gone: it is there',
    '                                                           again',
  ]);
  assert.deepEqual(formatEvents({ events: [], forgotten: 0 }, PLAIN, NOW), [
    'no events since the daemon started',
  ]);
});

test('an event as it comes is one whole line', () => {
  assert.equal(
    eventLine(REPAIR, undefined, false, NOW),
    '12:29:50 repair 10.5.2.0-24: route 10.5.2.0/24 was gone: it is there again (12 times since 12:28:50)',
  );
  assert.equal(
    eventLine(START, 'blue', false, NOW),
    '2026-05-06 11:30:00 blue start host: weft 1.2.3 started',
  );
});
