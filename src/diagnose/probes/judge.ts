import type { OwnEnds, PeerEnds } from '#src/backend/probe-ends.ts';
import type { UdpCheck } from '#src/diagnose/probes/measured-peer.ts';
import type { Way } from '#src/diagnose/probes/way.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { PeerProbe } from '#src/observe/api.ts';

/** What was measured of one peer. */
export interface Measured {
  readonly ends: PeerEnds;
  readonly inside: Way;
  readonly outside: Way;
  readonly tcp: PeerProbe['tcp'];
  readonly tcpSilences: number;
  readonly udp: UdpCheck | undefined;
  readonly workingMtu: number | undefined;
  readonly search: unknown;
}

export interface Judgement {
  readonly state: PeerProbe['state'];
  readonly findings: readonly string[];
}

/** So many small packets in a row without an answer: one of twenty that gets lost is no outage. */
export const DOWN_AFTER = 3;
/** A connection is tried twice before its silence counts. */
export const SILENT_AFTER = 2;
/** So many of the last twenty: now and then some get lost. */
const LOSSY_FROM = 3;

/** What the measurements mean. Pure. */
export function judge(measured: Measured, own: OwnEnds): Judgement {
  const down = downFinding(measured, own);
  if (down !== undefined) return { state: 'down', findings: [down] };
  const silent = insideSilent(measured);
  const degrading = [silent, lossFinding(measured), mtuFinding(measured, own), tcpFinding(measured, own)];
  const findings = degrading.filter((finding) => finding !== undefined);
  const state = findings.length === 0 ? 'up' : 'degraded';
  const underlay = silent === undefined ? underlayFinding(measured) : undefined;
  return { state, findings: underlay === undefined ? findings : [...findings, underlay] };
}

/** No packet passes inside. Where the address inside may not exist, its silence alone does not say so. */
export function isDown({ inside, outside, ends }: Pick<Measured, 'inside' | 'outside' | 'ends'>): boolean {
  if (inside.lostInRow < DOWN_AFTER) return false;
  return ends.isCertain || inside.roundTripMs !== undefined || outside.lostInRow > 0;
}

function downFinding(measured: Measured, { carrier }: OwnEnds): string | undefined {
  const { inside, outside, ends } = measured;
  if (!isDown(measured)) return undefined;
  const peer = formatIp(ends.outside);
  const { refusal } = inside;
  if (refusal !== undefined) return `this host can not send to ${formatIp(ends.inside)}: ${whyNot(refusal)}`;
  if (outside.sent > 0 && outside.lostInRow === 0)
    return `nothing passes inside the tunnel while the underlay answers: ${carrier} is dropped between this host and ${peer}; allow it in the firewalls of both hosts and of the network between them`;
  if (outside.lostInRow >= DOWN_AFTER)
    return `neither the tunnel nor the underlay answers: ${peer} is down or cut off, or a firewall drops all of it`;
  return 'nothing passes inside the tunnel';
}

/** Only where the address inside may not be there. */
function insideSilent({ inside, ends }: Measured): string | undefined {
  if (inside.lostInRow < DOWN_AFTER) return undefined;
  return `${formatIp(ends.inside)} does not answer while the underlay does: the peer has no bridge with that address yet, or packets for its subnet do not arrive`;
}

function lossFinding({ inside }: Measured): string | undefined {
  const lost = inside.sent - inside.answeredCount;
  // While a packet is missed, the next ones decide whether it is an outage.
  if (lost < LOSSY_FROM || inside.lostInRow > 0) return undefined;
  return `${lost} of the last ${inside.sent} packets inside the tunnel had no answer`;
}

function mtuFinding({ inside, workingMtu, search }: Measured, own: OwnEnds): string | undefined {
  if (!inside.isFullLost || inside.lostInRow > 0) return undefined;
  const lost = `packets of ${own.mtu.inside} bytes are lost inside the tunnel`;
  if (workingMtu === undefined || search !== undefined) return lost;
  return `${lost}, ${workingMtu} pass: ${own.mtuRemedy(workingMtu)}`;
}

function tcpFinding({ tcp, tcpSilences, udp, ends, inside }: Measured, own: OwnEnds): string | undefined {
  if (tcp !== 'silent' || tcpSilences < SILENT_AFTER || inside.lostInRow > 0 || udp === undefined)
    return undefined;
  // A firewall that drops all that is not asked for looks like this, and says nothing about containers.
  if (!udp.withoutChecksum) return undefined;
  const offload = `checksum offload of the underlay card ${own.device} here, or of the peer's, is suspect: try "ethtool -K ${own.inner} tx-checksum-ip-generic off" on both hosts`;
  return udp.withChecksum
    ? `TCP to ${formatIp(ends.responder)} gets no answer while ICMP and UDP do: a firewall drops TCP, or ${offload}`
    : `TCP and UDP with a checksum get no answer from ${formatIp(ends.responder)} while ICMP and UDP without one do: ${offload}`;
}

function underlayFinding({ outside, ends }: Measured): string | undefined {
  if (outside.lostInRow < DOWN_AFTER) return undefined;
  return `${formatIp(ends.outside)} does not answer pings on the underlay, the tunnel does`;
}

const REFUSALS: Readonly<Record<string, string>> = {
  EPERM: 'a packet filter of this host drops it',
  EHOSTUNREACH: 'it has no route there',
  ENETUNREACH: 'it has no route there',
  ENETDOWN: 'the device is down',
  EINVAL: 'the address to send from is gone',
  EADDRNOTAVAIL: 'the address to send from is gone',
  ENOBUFS: 'the device takes no more packets',
};

const whyNot = (refusal: string): string => REFUSALS[refusal] ?? refusal;

/** Figures that change with each packet make no other judgement. */
export function isSameJudgement(one: Judgement | undefined, other: Judgement): boolean {
  if (one?.state !== other.state || one.findings.length !== other.findings.length) return false;
  return one.findings.every((text, index) => wordsOf(text) === wordsOf(other.findings[index] ?? ''));
}

const wordsOf = (text: string): string => text.replace(/^\d+ of the last \d+ /, '');
