import { askNetworks, type NetworkAnswer } from '#src/cli/ask-networks.ts';
import { type Cell, cutTo, formatTable } from '#src/cli/format-table.ts';
import { jsonOf } from '#src/cli/json-of.ts';
import { type LookCall, type LookContext, lookCommand } from '#src/cli/look-command.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { inTone, type Screen, type Tone } from '#src/cli/screen.ts';
import { formatTime } from '#src/cli/spans.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlagTable, OptionsOf } from '#src/lib/go-flags.ts';
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
  async run(call, context) {
    if (call.options.follow) return follow(call, context);
    const { output, screen, clock, signal } = context;
    const networks = await askNetworks(context, call, '/v1/events', signal);
    if (call.options.json) {
      output.print(JSON.stringify(jsonOf(networks), undefined, 2));
      return 0;
    }
    for (const [at, { name, answer }] of networks.entries()) {
      if (name !== undefined) output.print(`${at === 0 ? '' : '\n'}network ${name}`);
      for (const line of formatEvents(answer, screen, clock.now())) output.print(line);
    }
    return 0;
  },
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
  const head = HEAD.map((text): Cell => ({ text, tone: 'title' }));
  const rows = events.map((event): Cell[] => {
    const { at, firstAt, type, severity, subject, text, count } = event;
    const tone = TONES[severity];
    return [
      formatTime(at, now),
      String(count),
      count > 1 ? formatTime(firstAt, now) : '-',
      tone === undefined ? type : { text: type, tone },
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
async function follow({ options, id }: Call, context: LookContext): Promise<number> {
  const { output, screen, clock, signal } = context;
  const networks = await askNetworks(context, { options, id }, '/v1/status', signal);
  const life = new AbortController();
  const ended = AbortSignal.any([signal, life.signal]);
  const read = async ({ socket, name }: NetworkAnswer<unknown>): Promise<void> => {
    for await (const event of context.follow(socket, {}, ended)) {
      if (options.json)
        output.print(JSON.stringify(name === undefined ? event : { network: name, ...event }));
      else output.print(eventLine(event, name, screen.hasColour, clock.now()));
    }
  };
  try {
    await Promise.all(networks.map(read));
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

export function eventLine(
  event: HostEvent,
  name: string | undefined,
  hasColour: boolean,
  now: number,
): string {
  const { at, type, severity, subject, text, count, firstAt } = event;
  const often = count > 1 ? ` (${count} times since ${formatTime(firstAt, now)})` : '';
  const network = name === undefined ? '' : ` ${name}`;
  const what = plainText(`${subject}: ${text}`);
  return `${formatTime(at, now)}${network} ${inTone(type, TONES[severity], hasColour)} ${what}${often}`;
}
