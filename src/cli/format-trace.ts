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
  lines.push(...(live === undefined ? [] : liveLines(live, look)));
  return [...lines, ...wrapText(verdictOf(trace), look.width)];
}

const endText = ({ name, address, host }: Trace['from']): string =>
  plainText(
    `${name === undefined ? '' : `${name} `}${name === undefined ? address : `(${address})`} on ${host}`,
  );

function hopLines(hop: Hop, hosts: number, { width, hasColour }: Look): string[] {
  const { text, tone } = MARKS[`${hop.ok}`];
  const lead = `${text.padEnd(MARK_WIDTH)}  ${hop.host.padEnd(hosts)}  ${hop.id.padEnd(ID_WIDTH)}  `;
  const room = width - lead.length;
  const said = plainText(hop.found[0] ?? '');
  // What is not as it must be, or not known, is said in full; the rest is there with --json.
  const isLong = hop.ok !== true && said.length > room;
  const first = isLong ? '' : cut(said, room);
  const head =
    `${inTone(text.padEnd(MARK_WIDTH), tone, hasColour)}${lead.slice(MARK_WIDTH)}${first}`.trimEnd();
  if (hop.ok === true) return [head];
  const indent = ' '.repeat(MARK_WIDTH + 2);
  const more = [
    ...hop.found.slice(isLong ? 0 : 1),
    ...(hop.ok === false ? [`what should happen: ${hop.about}`] : []),
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

function liveLines({ sights, lost }: LiveTrace, { width, hasColour }: Look): string[] {
  const lines = [inTone('a packet was sent, and seen', 'title', hasColour)];
  for (const way of ['there', 'back'] as const) {
    const seen = sights.filter((sight) => sight.way === way && sight.seen);
    const hosts = Map.groupBy(seen, ({ host }) => host);
    for (const [host, places] of hosts)
      lines.push(`  ${way === 'there' ? 'there' : 'back '}  ${host}: ${places.map(sightText).join(', ')}`);
  }
  if (sights.every(({ seen }) => !seen)) lines.push('  nowhere');
  return lost === undefined
    ? lines
    : [...lines, ...lossLines(lost).flatMap((line) => wrapText(line, width - 2).map((part) => `  ${part}`))];
}

const sightText = ({ device, direction, wrapped }: Sight): string =>
  `${device} ${direction}${wrapped ? ' (in the tunnel)' : ''}`;

function lossLines({ after, before, host, hop, way, orThere }: Loss): string[] {
  const last =
    after === undefined
      ? `it was not even seen leaving the container by ${before.device}`
      : `last seen on ${after.host}: ${sightText(after)}`;
  const next = `not seen on ${before.host}: ${sightText(before)}`;
  return [
    last,
    next,
    `lost at: ${way} ${host} ${hop}`,
    ...(orThere === undefined ? [] : [`${orThere.host} does not watch: ${orThere.why}`]),
  ];
}

function verdictOf({ outcome, hops, live }: FullTrace): string {
  const stop = hops.find(({ ok }) => ok === false);
  const isSameLoss = stop?.id === 'wire' && live?.lost?.hop === 'wire';
  if (live?.lost !== undefined && (stop === undefined || isSameLoss)) {
    const { host, hop, way, orThere } = live.lost;
    return orThere === undefined
      ? `A packet is lost at ${host}, ${hop}, on the way ${way}: look for what no check knows.`
      : `A packet leaves ${host} and no answer comes: it is lost on the wire, or on ${orThere.host}. Look at the firewalls there.`;
  }
  if (stop !== undefined) return `It stops at ${stop.host}, ${stop.id}, on the way ${stop.way}.`;
  if (live !== undefined && live.lost === undefined) return 'A packet arrives, and its answer comes back.';
  if (outcome === 'arrives') return 'Nothing is in the way, there and back.';
  const unseen = unseenHosts(hops);
  return unseen.length === 0
    ? 'Nothing that can be seen from here is in the way; --live sends a packet.'
    : `Nothing that can be seen from here is in the way; ${unseen.join(' and ')} can't be seen. --live sends a packet.`;
}

/** Hosts that none of their hops is known of. The wire is between two. */
function unseenHosts(hops: readonly Hop[]): string[] {
  const byHost = Map.groupBy(
    hops.filter(({ id }) => id !== 'wire'),
    ({ host }) => host,
  );
  return [...byHost].flatMap(([host, own]) => (own.every(({ ok }) => ok === 'unknown') ? [host] : []));
}

const cut = (text: string, room: number): string =>
  text.length <= room ? text : `${text.slice(0, Math.max(0, room - 1))}…`;
