import { askNetworks } from '#src/cli/ask-networks.ts';
import { bySubnet } from '#src/cli/by-subnet.ts';
import { formatBytes } from '#src/cli/format-bytes.ts';
import { type Cell, formatTable, noteLines } from '#src/cli/format-table.ts';
import { jsonOf } from '#src/cli/json-of.ts';
import { LeaseEnds } from '#src/cli/lease-ends.ts';
import { lookCommand, show, WATCH_FLAG } from '#src/cli/look-command.ts';
import { countPeers, filterOf, PEER_STATES, type PeerState, stateOf } from '#src/cli/peer-filter.ts';
import { inTone, type Screen, type Tone } from '#src/cli/screen.ts';
import { formatAge, formatSpan } from '#src/cli/spans.ts';
import type { Peer, PeerProbe, Peers } from '#src/observe/api.ts';

/** `weft peers`: 0; 1 when words were given and no peer is meant by them. */
export const PEERS = lookCommand({
  name: 'peers',
  takes: '[WORD…]',
  help: [
    '  The other hosts of the network. A WORD chooses some of them: an address in the subnet of a peer, a lease, a',
    '  public IP, a node, or a state: up, degraded, down, unmeasured, missing (not in the kernel), quarantined.',
    '  SEEN is the age of the last news of the lease, STATE and what follows is what the last probes found, LEASE the',
    '  time that the lease has left, SINCE how long the kernel has had what the peer needs. Of up to 12 peers with a tunnel',
    '  of WireGuard’s, a line each has the last handshake and the bytes.',
  ],
  words: PEER_STATES,
  flags: WATCH_FLAG,
  async run({ options, words, id }, context) {
    const { screen, clock, signal } = context;
    const chosen = filterOf(words);
    const choose = ({ peers }: Peers) => peers.filter(chosen).sort(bySubnet);
    const ends = new LeaseEnds(context);
    const value = await show(
      {
        title: ['weft peers', ...words].join(' '),
        async ask() {
          const networks = await askNetworks(context, { options, id }, '/v1/peers', signal);
          if (!options.json) await ends.read(networks);
          return networks;
        },
        lines: (networks) =>
          networks.flatMap(({ name, answer }, at) => [
            ...(name === undefined ? [] : [...(at === 0 ? [] : ['']), `network ${name}`]),
            ...formatPeers(ends.fill(answer), choose(ends.fill(answer)), screen, clock.now()),
          ]),
        json: (networks) => jsonOf(networks, (answer) => ({ ...answer, peers: choose(answer) })),
        essence: (networks) => networks.map(({ answer }) => choose(answer).map(essenceOf)),
      },
      options,
      context,
    );
    const isFound = value === undefined || value.some(({ answer }) => choose(answer).length > 0);
    return words.length > 0 && !isFound ? 1 : 0;
  },
});

/** What is news of a peer. */
const essenceOf = (peer: Peer): unknown => {
  const { lease, subnet, publicIp, backend, node, programmed, since, reason, probe } = peer;
  const { findings, responder, workingMtu } = probe ?? {};
  return [
    lease,
    subnet,
    publicIp,
    backend,
    node,
    programmed,
    since,
    reason,
    peer.encryption,
    stateOf(peer),
    findings,
    responder,
    workingMtu,
  ];
};

const TONES: Readonly<Record<PeerState, Tone>> = {
  up: 'good',
  degraded: 'warning',
  down: 'bad',
  missing: 'bad',
  quarantined: 'warning',
  unmeasured: 'quiet',
};

const HEAD = ['SUBNET', 'PUBLIC IP', 'BACKEND', 'SEEN', 'STATE', 'TRIP', 'LOSS', 'LEASE', 'SINCE'];
const CUT = [HEAD.indexOf('SUBNET'), HEAD.indexOf('PUBLIC IP')];
const RIGHT = ['SEEN', 'TRIP', 'LOSS', 'LEASE', 'SINCE'].map((title) => HEAD.indexOf(title));

/** A line that counts all peers, those that were chosen as a table, and what is wrong with them. */
export function formatPeers(
  { peers }: Peers,
  chosen: readonly Peer[],
  { width, hasColour }: Pick<Screen, 'width' | 'hasColour'>,
  now: number,
): string[] {
  const rows = chosen.map((peer) => rowOf(peer, now));
  const head = HEAD.map((text): Cell => ({ text, tone: 'title' }));
  const table =
    rows.length === 0 ? [] : formatTable([head, ...rows], { width, hasColour, cut: CUT, right: RIGHT });
  const hasRoom = chosen.length <= MOST_TUNNELS;
  const notes = chosen.flatMap((peer) =>
    [...notesOf(peer), ...(hasRoom ? tunnelNotes(peer, now) : [])].map((note) => ({ peer, note })),
  );
  return [
    summaryOf(peers, hasColour),
    ...(peers.length > 0 && chosen.length === 0 ? ['no peer is meant by these words'] : []),
    ...table,
    ...notes.flatMap(({ peer, note }) => noteLines(`${peer.subnet ?? peer.lease}: ${note}`, width)),
  ];
}

function summaryOf(peers: readonly Peer[], hasColour: boolean): string {
  const counts = countPeers(peers);
  // Of probes that are off nothing is said but that.
  const isMeasured = counts.up + counts.degraded + counts.down > 0 || counts.unmeasured === 0;
  const always: readonly PeerState[] = isMeasured ? ['up', 'down', 'quarantined'] : ['quarantined'];
  const states = Object.entries(counts) as [PeerState, number][];
  const parts = states
    .filter(([state, count]) => count > 0 || always.includes(state))
    .map(([state, count]) => inTone(`${count} ${state}`, count === 0 ? undefined : TONES[state], hasColour));
  return [`${peers.length} ${peers.length === 1 ? 'peer' : 'peers'}`, ...parts].join(', ');
}

function rowOf(peer: Peer, now: number): Cell[] {
  const {
    lease,
    subnet = lease,
    publicIp = '-',
    backend = '',
    lastSeen,
    remainingSeconds,
    since,
    probe,
  } = peer;
  const state = stateOf(peer);
  return [
    subnet,
    publicIp,
    peer.encryption === undefined || peer.encryption === 'none' || peer.encryption === backend
      ? backend || '-'
      : `${backend}+${peer.encryption}`,
    formatAge(lastSeen, now),
    { text: state === 'unmeasured' ? '-' : state, tone: TONES[state] },
    tripOf(probe),
    lossOf(probe),
    remainingSeconds === undefined ? '-' : formatSpan(remainingSeconds * 1000),
    peer.programmed === 'yes' ? formatAge(since, now) : '-',
  ];
}

const tripOf = (probe: PeerProbe | undefined): string =>
  probe?.tunnel.roundTripMs === undefined ? '-' : `${probe.tunnel.roundTripMs.toFixed(1)} ms`;

/** Rounded up: one packet of many that was lost is not none. */
function lossOf(probe: PeerProbe | undefined): string {
  if (probe === undefined || probe.tunnel.sent === 0) return '-';
  const { sent, answered } = probe.tunnel;
  return `${Math.ceil((100 * (sent - answered)) / sent)}%`;
}

/** A line for each tunnel of so many peers; words choose fewer. */
const MOST_TUNNELS = 12;

function tunnelNotes({ wireguard }: Peer, now: number): string[] {
  if (wireguard === undefined) return [];
  const { endpoint = 'nowhere', handshakeAt, received, sent } = wireguard;
  const bytes = `${formatBytes(received)} received, ${formatBytes(sent)} sent`;
  const handshake =
    handshakeAt === undefined ? 'no handshake yet' : `handshake ${formatAge(handshakeAt, now)} ago`;
  return [`WireGuard with ${endpoint}: ${handshake}, ${bytes}`];
}

function notesOf({ programmed, reason, encryption, probe }: Peer): string[] {
  const why = reason ?? (programmed === 'no' ? 'the kernel does not have what it needs' : undefined);
  return [
    ...(why === undefined ? [] : [why]),
    ...(encryption === 'none' ? ['packets to it are not encrypted'] : []),
    ...(probe?.findings ?? []),
  ];
}
