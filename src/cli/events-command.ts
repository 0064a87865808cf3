import { askSockets, type NetworkAnswer, socketsOf } from '#src/cli/ask-networks.ts';
import { type Cell, cutTo, formatTable } from '#src/cli/format-table.ts';
import { type LookCall, type LookContext, lookCommand } from '#src/cli/look-command.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { inTone, type Screen, type Tone } from '#src/cli/screen.ts';
import { formatTime } from '#src/cli/spans.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlagTable, OptionsOf } from '#src/lib/go-flags.ts';
import { driverSocket } from '#src/node/network-id.ts';
import type { Events, HostEvent } from '#src/observe/api.ts';

const FLAGS = {
  follow: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'also each event as it comes, until Ctrl-C; with --json one object a line',
  },
} as const satisfies FlagTable;

/** `weft events`: 0. With `--follow` it ends with the command, or with the daemon. */
export const EVENTS = lookCommand({
  name: 'events',
  takes: '',
  help: [
    '  What happened on this host, the newest last: what was repaired, leases that came and went, how the registry was.',
    '  The daemon remembers the last of them, since its start. COUNT says how often the same happened in a row, and FIRST',
    '  since when.',
  ],
  flags: FLAGS,
  run: showEvents,
});

/** Once, or with `--follow` as they come. Exported for its test. */
export async function showEvents(call: Call, context: LookContext): Promise<number> {
  if (call.options.follow) return follow(call, context);
  const { output, screen, clock } = context;
  const rings = await readRings(call, context);
  const [first, ...more] = rings.map(({ answer }) => answer);
  if (call.options.json)
    output.print(JSON.stringify(more.length === 0 ? first : [first, ...more], undefined, 2));
  else for (const line of formatEvents(merged([first, ...more]), screen, clock.now())) output.print(line);
  return 0;
}

/** Each daemon of this host, with its events. Every socket of one daemon answers the same. */
async function readRings({ options, id }: Call, context: LookContext): Promise<NetworkAnswer<Events>[]> {
  const meant = await socketsOf(context, { options, id });
  const sockets = id === undefined ? [...meant, driverSocket(options)] : meant;
  const answers = await askSockets(context, sockets, '/v1/events', context.signal);
  const { network } = options;
  const rings = answers.filter(
    ({ answer }, at) => !answers.slice(0, at).some((other) => isSame(other.answer, answer)),
  );
  if (network === '') return rings;
  return rings.map((ring) => ({
    ...ring,
    answer: { ...ring.answer, events: ring.answer.events.filter(isOf(network)) },
  }));
}

/** What happened in the network, or on the whole host. */
const isOf =
  (network: string) =>
  (event: HostEvent): boolean =>
    network === '' || event.network === undefined || event.network === network;

/** Two processes share no event: its number, its time and its text are those of one. */
function isSame({ events: a }: Events, { events: b }: Events): boolean {
  const keyOf = ({ id, at, text }: HostEvent): string => `${id} ${at} ${text}`;
  const keys = new Set(a.map(keyOf));
  return b.some((event) => keys.has(keyOf(event)));
}

const merged = (rings: readonly (Events | undefined)[]): Events => ({
  events: rings.flatMap((ring) => ring?.events ?? []).sort((a, b) => Date.parse(a.at) - Date.parse(b.at)),
  forgotten: rings.reduce((sum, ring) => sum + (ring?.forgotten ?? 0), 0),
});

const HEAD = ['TIME', 'COUNT', 'FIRST', 'TYPE', 'SUBJECT', 'EVENT'];
/** The event's sentence needs the room. */
const LONGEST_SUBJECT = 24;
const TONES: Readonly<Partial<Record<HostEvent['severity'], Tone>>> = { warning: 'warning', error: 'bad' };

/** The events of the ring as a table. */
export function formatEvents(
  { events, forgotten }: Events,
  { width, hasColour }: Pick<Screen, 'width' | 'hasColour'>,
  now: number,
): string[] {
  const older = forgotten > 0 ? [`${forgotten} older events are forgotten`] : [];
  if (events.length === 0) return [...older, 'no events since the daemon started'];
  const hasNetworks = events.some(({ network }) => network !== undefined);
  const titles = hasNetworks ? HEAD.toSpliced(4, 0, 'NETWORK') : HEAD;
  const head = titles.map((text): Cell => ({ text, tone: 'title' }));
  const rows = events.map((event): Cell[] => {
    const { at, firstAt, type, severity, network = '-', subject, text, count } = event;
    const tone = TONES[severity];
    return [
      formatTime(at, now),
      String(count),
      count > 1 ? formatTime(firstAt, now) : '-',
      tone === undefined ? type : { text: type, tone },
      ...(hasNetworks ? [network] : []),
      cutTo(subject, LONGEST_SUBJECT),
      text,
    ];
  });
  return [
    ...older,
    ...formatTable([head, ...rows], { width, hasColour, right: [HEAD.indexOf('COUNT')], wrap: true }),
  ];
}

type Call = LookCall<OptionsOf<typeof FLAGS>>;

/** Each event in a line of its own, whole: what comes next decides no column's width. */
async function follow(call: Call, context: LookContext): Promise<number> {
  const { options } = call;
  const { output, screen, clock, signal } = context;
  const rings = await readRings(call, context);
  const life = new AbortController();
  const ended = AbortSignal.any([signal, life.signal]);
  const isMeant = isOf(options.network);
  const read = async ({ socket }: NetworkAnswer<unknown>): Promise<void> => {
    for await (const event of context.follow(socket, {}, ended)) {
      if (!isMeant(event)) continue;
      output.print(options.json ? JSON.stringify(event) : eventLine(event, screen.hasColour, clock.now()));
    }
  };
  try {
    await Promise.all(rings.map(read));
  } catch (error) {
    if (signal.aborted) return 0;
    if (!(error instanceof WeftError) || error.code !== 'not-running') throw error;
    throw new WeftError('not-running', 'flanneld has ended', {
      remedy: '"systemctl status flanneld" says why; run the command again when it runs',
    });
  } finally {
    life.abort();
  }
  return 0;
}

export function eventLine(event: HostEvent, hasColour: boolean, now: number): string {
  const { at, type, severity, network, subject, text, count, firstAt } = event;
  const often = count > 1 ? ` (${count} times since ${formatTime(firstAt, now)})` : '';
  const where = network === undefined ? '' : ` ${network}`;
  const what = plainText(`${where} ${subject}: ${text}`);
  return `${formatTime(at, now)} ${inTone(type, TONES[severity], hasColour)}${what}${often}`;
}
