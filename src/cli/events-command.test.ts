import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import type { AskApi } from '#src/cli/ask-networks.ts';
import { eventLine, formatEvents, showEvents } from '#src/cli/events-command.ts';
import type { LookContext } from '#src/cli/look-command.ts';
import { screenOf } from '#src/cli/screen.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { HostEvent } from '#src/observe/api.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { testOptions } from '../../test/support/node-host.ts';

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
    eventLine(REPAIR, false, NOW),
    '12:29:50 repair 10.5.2.0-24: route 10.5.2.0/24 was gone: it is there again (12 times since 12:28:50)',
  );
  const inBlue = { ...START, network: 'blue' };
  assert.equal(eventLine(inBlue, false, NOW), '2026-05-06 11:30:00 start blue host: weft 1.2.3 started');
});

test('events of several networks have their names', () => {
  const [head, , line] = formatEvents(
    { events: [START, { ...REPAIR, network: 'blue', text: 'it is there again' }], forgotten: 0 },
    PLAIN,
    NOW,
  );
  assert.equal(head, 'TIME                 COUNT  FIRST     TYPE    NETWORK  SUBJECT      EVENT');
  assert.equal(line, '12:29:50                12  12:28:50  repair  blue     10.5.2.0-24  it is there again');
});

/** What the command prints on a host with these daemons, by the sockets that each holds. */
async function printedOn(
  rings: readonly { readonly sockets: readonly string[]; readonly events: readonly HostEvent[] }[],
  ...words: string[]
) {
  const lines: string[] = [];
  const take = (line: string): void => void lines.push(line);
  const ask = async (socket: string) => {
    const ring = rings.find(({ sockets }) => sockets.includes(socket));
    if (ring === undefined) throw new WeftError('not-running', `nobody at ${socket}`);
    return { events: ring.events, forgotten: 0 };
  };
  const context: LookContext = {
    output: { print: take, complain: take, progress: take, progressEnds: () => {} },
    screen: screenOf(process.stdout, { NO_COLOR: '1' }),
    signal: new AbortController().signal,
    ask: ask as unknown as AskApi,
    async *follow(socket) {
      yield* rings.find(({ sockets }) => sockets.includes(socket))?.events ?? [];
      throw new WeftError('not-running', 'it ended');
    },
    clock: new FakeClock({ epoch: NOW }),
    folders: { list: async () => rings.flatMap(({ sockets }) => sockets.map((path) => basename(path))) },
  };
  const run = showEvents(
    {
      options: { ...OPTIONS, json: false, follow: words.includes('--follow'), network: '' },
      words: [],
      id: undefined,
    },
    context,
  );
  await (words.includes('--follow') ? assert.rejects(run, { message: 'flanneld has ended' }) : run);
  return lines;
}

const OPTIONS = testOptions({ stateDir: '/s' });
const [BLUE, RED, DRIVER] = [
  '/s/network-00000000000b.sock',
  '/s/network-00000000000a.sock',
  '/s/docker-driver.sock',
];

test('all sockets of a daemon are one, and the events of two daemons are in the order of their times', async () => {
  const one = { sockets: [BLUE, DRIVER], events: [START, REPAIR] };
  const two = { sockets: [RED], events: [{ ...START, id: 3, text: 'weft 1.2.4 started', at: ago(60) }] };
  const lines = await printedOn([one, two]);
  assert.equal(lines.length, 5);
  assert.deepEqual(
    lines.slice(1, 4).map((line) => line.slice(0, 19).trim()),
    ['2026-05-06 11:30:00', '12:29:00', '12:29:50'],
  );
});

test('a host with Docker networks only has events, too', async () => {
  assert.match((await printedOn([{ sockets: [DRIVER], events: [REPAIR] }]))[1] ?? '', / repair /);
});

test('what is followed is printed once, and ends with the daemon', async () => {
  const lines = await printedOn([{ sockets: [BLUE, DRIVER], events: [REPAIR] }], '--follow');
  assert.equal(lines.length, 1);
});
