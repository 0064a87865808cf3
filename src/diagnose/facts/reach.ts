import type { SharedSettings } from '#src/backend/backend.ts';
import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { familiesKnown, knownInFamilyOf } from '#src/diagnose/known-families.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { FamilyProbe, Peer } from '#src/observe/api.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { AskHttp } from '#src/sys/http-question.ts';

/** Whether something came back. `unknown`: it could not be tried. */
export type Passed = 'yes' | 'no' | 'unknown';

/** What passes to one peer. */
export interface PeerReach {
  readonly lease: string;
  /** Of packets of IPv6, in a network that has IPv4 as well. */
  readonly ipv6?: true;
  /** Small packets to its public IP. Many hosts answer no pings, so that `no` alone says little. */
  readonly underlay: Passed;
  /** Small packets to its end of the tunnel. */
  readonly tunnel: Passed;
  /** Packets of the device's MTU inside the tunnel, not in fragments. */
  readonly fullSize: Passed;
  /** TCP inside the tunnel: an answer, or a refusal. `no` only of a peer whose responder answers otherwise. */
  readonly tcp: Passed;
  /** How far its clock is ahead of ours, in milliseconds; where it has a responder. */
  readonly aheadMs?: number;
  /** What its backend has that both ends must have alike; where its responder says so. */
  readonly shared?: SharedSettings;
}

/** The tunnel carries something. A ping alone may be dropped by the peer's own firewall. */
export const carries = ({ tunnel, tcp }: PeerReach): boolean => tunnel === 'yes' || tcp === 'yes';

/** So many peers are tried; others of a large network are left to the daemon's probes. */
const MOST_PEERS = 12;
const PING_SECONDS = 1;
/** IP header and ICMP header. */
const PING_OVERHEAD = { 4: 28, 6: 48 } as const;
/** Of weft's responder; a host without one refuses, which is an answer. */
const RESPONDER_PORT = 8474;

export interface ReachComponents {
  readonly commands: CommandRunner;
  readonly ask: AskHttp;
  readonly now: () => number;
}

/**
 * Sends some packets to peers: `ping` to the public IP and to the VTEP, small and of full size, and a TCP connection to the
 * VTEP. A backend without devices has no address of its own in the overlay, and only the underlay is tried.
 */
export async function readReach(
  components: ReachComponents,
  network: KnownNetwork,
  peers: readonly KnownPeer[],
): Promise<Fact<readonly PeerReach[]>> {
  if (peers.length === 0) return absentFact('there are no other hosts');
  const { code } = await components.commands.run(['ping', '-V'], { timeoutMs: 1_000 });
  // A busy machine that starts it too slowly has it all the same.
  if (code === 127) return unknownFact("peers can't be tried without ping (Debian package iputils-ping)");
  const [first, second] = familiesKnown(network).map(({ subnet }) =>
    knownInFamilyOf({ ...network, peers: peers.slice(0, MOST_PEERS) }, subnet.address),
  );
  const tried = [
    ...(first ?? network).peers.map((peer) => reachOf(components, network, peer)),
    ...(second?.peers ?? []).map(async (peer) => ({
      ...(await reachOf(components, network, peer)),
      ipv6: true as const,
    })),
  ];
  return knownFact(await Promise.all(tried));
}

async function reachOf(
  components: ReachComponents,
  { backend, mtu }: KnownNetwork,
  { lease, subnet, publicIp }: KnownPeer,
): Promise<PeerReach> {
  const vtep = (backend?.devices.length ?? 0) > 0 ? formatIp(subnet.address) : undefined;
  const unknown = Promise.resolve<Passed>('unknown');
  const [underlay, tunnel, fullSize, tcp] = await Promise.all([
    publicIp === undefined ? unknown : ping(components, formatIp(publicIp)),
    vtep === undefined ? unknown : ping(components, vtep),
    vtep === undefined || mtu === 0 ? unknown : ping(components, vtep, mtu - PING_OVERHEAD[subnet.family]),
    vtep === undefined ? undefined : knock(components, vtep),
  ]);
  return { lease, underlay, tunnel, fullSize, tcp: 'unknown', ...tcp };
}

/** With a deadline, `-c` counts answers: one of five packets is enough, and the first ends it. */
async function ping({ commands }: ReachComponents, address: string, bytes?: number): Promise<Passed> {
  const size = bytes === undefined ? [] : ['-M', 'do', '-s', String(bytes)];
  const { code, stdout, stderr } = await commands.run(
    ['ping', '-n', '-c', '1', '-i', '0.2', '-w', String(PING_SECONDS), ...size, address],
    { timeoutMs: 2_500 },
  );
  // The kernel was informed of a smaller path MTU within the last ten minutes, and senders follow it: nothing is lost.
  if (code !== 0 && /message too long/i.test(stdout + stderr)) return 'unknown';
  // 1: nothing came back; 2: another failure, such as no route.
  return code === 0 ? 'yes' : code === 124 || code === 127 ? 'unknown' : 'no';
}

async function knock(
  { ask, now }: ReachComponents,
  vtep: string,
): Promise<Pick<PeerReach, 'tcp' | 'aheadMs' | 'shared'>> {
  const from = now();
  const host = vtep.includes(':') ? `[${vtep}]` : vtep;
  const answer = await ask({ url: `http://${host}:${RESPONDER_PORT}/v1/hello`, timeoutMs: 1_100 });
  // A firewall of the peer may drop connections to the host: silence alone proves nothing.
  if (answer.kind === 'silent') return { tcp: 'unknown' };
  if (answer.kind !== 'answer' || answer.date === undefined) return { tcp: 'yes' };
  const shared = sharedIn(answer.body);
  return { tcp: 'yes', aheadMs: answer.date + 500 - (from + now()) / 2, ...(shared && { shared }) };
}

/** In what `GET /v1/hello` answers; `undefined` in what another program or an older version says. */
export function sharedIn(body: string): SharedSettings | undefined {
  try {
    const { version, shared } = JSON.parse(body) as { version?: unknown; shared?: unknown };
    if (typeof version !== 'string' || typeof shared !== 'object' || shared === null) return undefined;
    const values = Object.entries(shared).filter(([, value]) =>
      ['boolean', 'number', 'string'].includes(typeof value),
    );
    return Object.fromEntries(values);
  } catch {
    return undefined;
  }
}

/** The same as the daemon's probes measured it. */
export function reachFromProbe(lease: string, { tunnel, underlay, tcp, responder }: FamilyProbe): PeerReach {
  const passed = ({ sent, answered }: FamilyProbe['tunnel']): Passed =>
    sent === 0 ? 'unknown' : answered > 0 ? 'yes' : 'no';
  const full = { passes: 'yes', lost: 'no', 'not tried': 'unknown' } as const;
  const silent = responder ? 'no' : 'unknown';
  const answers = { answered: 'yes', refused: 'yes', silent, 'not tried': 'unknown' } as const;
  return {
    lease,
    underlay: passed(underlay),
    tunnel: passed(tunnel),
    fullSize: full[tunnel.fullSize],
    tcp: answers[tcp],
  };
}

/** What was tried now counts; the daemon's probes fill in the rest. */
export function joinReach(now: readonly PeerReach[], probed: readonly PeerReach[]): PeerReach[] {
  const tried = new Map(now.map((reach) => [keyOf(reach), reach]));
  const both = probed.map((probe) => {
    const fresh = tried.get(keyOf(probe));
    if (fresh === undefined) return probe;
    // A probe is some seconds old: what it saw pass may not pass now.
    return fresh.tcp === 'unknown' && probe.tcp === 'no' ? { ...fresh, tcp: probe.tcp } : fresh;
  });
  const isProbed = new Set(probed.map(keyOf));
  return [...both, ...now.filter((reach) => !isProbed.has(keyOf(reach)))];
}

const keyOf = ({ lease, ipv6 }: PeerReach): string => (ipv6 ? `${lease} IPv6` : lease);

/** The probes in what `GET /v1/peers` answered; none where it is no such answer. */
export function probesIn(answer: string | undefined): PeerReach[] {
  try {
    const { peers } = JSON.parse(answer ?? '{}') as { peers?: unknown };
    if (!Array.isArray(peers)) return [];
    return (peers as Peer[]).flatMap(({ lease, probe }): PeerReach[] => {
      if (probe === undefined) return [];
      const { ipv6 } = probe;
      const first = reachFromProbe(lease, probe);
      return ipv6 === undefined ? [first] : [first, { ...reachFromProbe(lease, ipv6), ipv6: true }];
    });
  } catch {
    return [];
  }
}
