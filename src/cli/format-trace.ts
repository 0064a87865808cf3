import { wrapText } from '#src/cli/format-table.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { inTone, type Screen, type Tone } from '#src/cli/screen.ts';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import type { LiveTrace, Loss, Sight } from '#src/diagnose/trace/live/locate.ts';
import type { FullTrace } from '#src/diagnose/trace/run-trace.ts';
import type { Trace } from '#src/diagnose/trace/trace-way.ts';

type Look = Pick<Screen, 'width' | 'hasColour'>;

const MARKS = {
  true: { text: 'ok', tone: 'good' },
  false: { text: 'STOP', tone: 'bad' },
  unknown: { text: '?', tone: 'warning' },
} as const satisfies Record<string, { readonly text: string; readonly tone: Tone }>;

/** Columns before a hop's text: its mark, and its place. */
const MARK_WIDTH = 4;

/** A trace for people: a line for each hop, and all about the one at which it stopped. */
export function formatTrace(trace: FullTrace, look: Look): string[] {
  const { from, to, hops, live } = trace;
  const lines: string[] = [`from ${endText(from)} to ${endText(to)}`];
  let place = '';
  const hosts = Math.max(...hops.map(({ host }) => host.length), 4);
  for (const hop of hops) {
    const way = hop.way === 'there' ? 'there' : 'back';
    if (place !== way)
      lines.push(inTone(way === 'there' ? 'the way there' : 'the way back', 'title', look.hasColour));
    place = way;
    lines.push(...hopLines(hop, hosts, look));
  }
  lines.push(...(live === undefined ? [] : liveLines(live, look)), verdictOf(trace));
  return lines;
}

const endText = ({ name, address, host }: Trace['from']): string =>
  plainText(
    `${name === undefined ? '' : `${name} `}${name === undefined ? address : `(${address})`} on ${host}`,
  );

function hopLines(hop: Hop, hosts: number, { width, hasColour }: Look): string[] {
  const { text, tone } = MARKS[`${hop.ok}`];
  const lead = `${text.padEnd(MARK_WIDTH)}  ${hop.host.padEnd(hosts)}  ${hop.id.padEnd(ID_WIDTH)}  `;
  const room = width - lead.length;
  const first = cut(plainText(hop.found[0] ?? ''), room);
  const head =
    `${inTone(text.padEnd(MARK_WIDTH), tone, hasColour)}${lead.slice(MARK_WIDTH)}${first}`.trimEnd();
  if (hop.ok === true) return [head];
  const indent = ' '.repeat(MARK_WIDTH + 2);
  const more = [
    ...hop.found.slice(1).map((it) => it),
    ...(hop.ok === false ? [`what happens here: ${hop.about}`] : []),
    ...(hop.expected === '' ? [] : [`expected: ${hop.expected}`]),
    ...(hop.command === '' ? [] : [`see: ${hop.command}`]),
    ...(hop.remedy === undefined ? [] : [`do: ${hop.remedy}`]),
  ];
  return [
    head,
    ...more.flatMap((it) => wrapText(plainText(it), width - indent.length).map((line) => indent + line)),
  ];
}

/** The longest is `arrival-forwarding`. */
const ID_WIDTH = 18;

function liveLines({ sights, lost }: LiveTrace, { hasColour }: Look): string[] {
  const lines = [inTone('a packet was sent, and seen', 'title', hasColour)];
  for (const way of ['there', 'back'] as const) {
    const seen = sights.filter((sight) => sight.way === way && sight.seen);
    const hosts = Map.groupBy(seen, ({ host }) => host);
    for (const [host, places] of hosts)
      lines.push(`  ${way === 'there' ? 'there' : 'back '}  ${host}: ${places.map(sightText).join(', ')}`);
  }
  if (sights.every(({ seen }) => !seen)) lines.push('  nowhere');
  return lost === undefined ? lines : [...lines, ...lossLines(lost).map((line) => `  ${line}`)];
}

const sightText = ({ device, direction, wrapped }: Sight): string =>
  `${device} ${direction}${wrapped ? ' (in the tunnel)' : ''}`;

function lossLines({ after, before, host, hop, way, orThere }: Loss): string[] {
  const last =
    after === undefined
      ? `it was not even seen leaving the container by ${before.device}`
      : `last seen on ${after.host}: ${sightText(after)}`;
  const next = `not seen on ${before.host}: ${sightText(before)}`;
  const where = orThere === undefined ? '' : `, or on ${orThere}, which can't watch for it`;
  return [last, next, `lost at: ${way} ${host} ${hop}${where}`];
}

function verdictOf({ outcome, hops, live }: FullTrace): string {
  const stop = hops.find(({ ok }) => ok === false);
  if (live?.lost !== undefined && stop === undefined) {
    const { host, hop, way } = live.lost;
    return `A packet is lost at ${host}, ${hop}, on the way ${way}, and no check of it finds why.`;
  }
  if (stop !== undefined) return `It stops at ${stop.host}, ${stop.id}, on the way ${stop.way}.`;
  if (live !== undefined && live.lost === undefined) return 'A packet arrives, and its answer comes back.';
  return outcome === 'arrives'
    ? 'Nothing is in the way, there and back.'
    : 'Nothing that can be seen from here is in the way; --live sends a packet.';
}

const cut = (text: string, room: number): string =>
  text.length <= room ? text : `${text.slice(0, Math.max(0, room - 1))}…`;
