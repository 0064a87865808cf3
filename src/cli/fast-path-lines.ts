import { plainText } from '#src/cli/plain-text.ts';
import { inTone } from '#src/cli/screen.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';

/** Why packets went the slow way, in the words of a status line; the counts of `fast-path/map-layouts.ts`. */
const SLOW: readonly (readonly [words: string, counts: readonly string[]])[] = [
  ['new, closing or due to be seen', ['notFreshOut', 'notFreshIn', 'openingOrClosing']],
  ['not TCP or UDP', ['otherProtocol']],
  ['TCP', ['tcpIsSlow']],
  ['fragments and options', ['unusual', 'congestion']],
  ['too long', ['tooLong']],
  ['wrong source', ['wrongSourceOut', 'wrongSourceIn']],
];
const FAST = ['encapsulated', 'decapsulated'];
/** So many peers and devices that stay slow are named. */
const NAMED = 3;

/** The lines of `weft status` about the fast path. */
export function fastPathLines(
  status: FastPathStatus,
  { hasColour }: { readonly hasColour: boolean },
): string[] {
  const { state, reasons, containers, peers, slowPeers, queues, tcp, packets } = status;
  const parts = [
    ...(state === 'on' ? [`${containers} container addresses, ${peers} peers`] : []),
    ...(state === 'on' && !tcp ? ['not for TCP: nf_conntrack_tcp_be_liberal is 0'] : []),
    ...(packets === undefined ? [] : shareText(packets)),
  ];
  const line = `  fast path  ${[state, ...parts].join(', ')}`;
  return [
    inTone(line, state === 'refused' ? 'warning' : undefined, hasColour),
    ...reasons.map((reason) => `             ${plainText(reason)}`),
    ...named(slowPeers.map(({ lease, reason }) => `${lease}: ${reason}`)),
    ...named(queues.map(({ device, queue }) => `${device}: packets wait in a queue (${queue})`)),
  ];
}

const named = (texts: readonly string[]): string[] => [
  ...texts.slice(0, NAMED).map((text) => `  slow       ${plainText(text)}`),
  ...(texts.length > NAMED ? [`             and ${texts.length - NAMED} more`] : []),
];

/** `96% of 12345 packets went fast; slow: 3% new, closing or due to be seen, 1% not TCP or UDP` */
function shareText(packets: Readonly<Record<string, number>>): string[] {
  const sum = (names: readonly string[]): number =>
    names.reduce((total, name) => total + (packets[name] ?? 0), 0);
  const fast = sum(FAST);
  const all = fast + SLOW.reduce((total, [, names]) => total + sum(names), 0);
  if (all === 0) return ['no packet yet'];
  const percent = (count: number): string => {
    const share = (count / all) * 100;
    return share > 0 && share < 1 ? '<1%' : `${Math.floor(share)}%`;
  };
  const slow = SLOW.flatMap(([words, names]) => {
    const count = sum(names);
    return count === 0 ? [] : [`${percent(count)} ${words}`];
  });
  const share = `${percent(fast)} of ${all} packets went fast`;
  return [slow.length === 0 ? share : `${share}; slow: ${slow.join(', ')}`];
}
