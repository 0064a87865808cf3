import type { WireguardPeerReport } from '#src/kernel/wireguard-messages.ts';
import type { Clock } from '#src/sys/clock.ts';

/** What WireGuard says of a peer at two looks. */
export interface Handshake {
  readonly device: string;
  readonly publicKey: string;
  /** Milliseconds since the epoch; 0 is never. */
  readonly at: number;
  /** Bytes sent to it since it was added, and between the two looks. */
  readonly sent: number;
  readonly sentMeanwhile: number;
}

/** A peer to which packets wait is tried each five seconds (REKEY_TIMEOUT of drivers/net/wireguard/messages.h). */
const BETWEEN_MS = 5_500;
/** Then a session's keys are dead (REJECT_AFTER_TIME). */
export const SESSION_MS = 180_000;

export interface HandshakeSources {
  readonly reports: (device: string) => Promise<readonly WireguardPeerReport[]>;
  readonly clock: Clock;
}

/** Looks at the peers of the devices; a second time, a little later, only where a handshake is overdue. */
export async function readHandshakes(
  { reports, clock }: HandshakeSources,
  devices: readonly string[],
  signal: AbortSignal,
): Promise<readonly Handshake[]> {
  const look = async () => (await Promise.all(devices.map((device) => reports(device)))).flat();
  const before = await look();
  const isOverdue = ({ handshakeAt }: WireguardPeerReport) => clock.now() - handshakeAt > SESSION_MS;
  let after = before;
  if (before.some(isOverdue)) {
    await clock.sleep(BETWEEN_MS, signal);
    after = await look();
  }
  const keyOf = ({ device, publicKey }: WireguardPeerReport) => `${device} ${publicKey}`;
  const sentBefore = new Map(before.map((report) => [keyOf(report), report.sent]));
  return after.map((report) => ({
    device: report.device,
    publicKey: report.publicKey,
    at: report.handshakeAt,
    sent: report.sent,
    sentMeanwhile: report.sent - (sentBefore.get(keyOf(report)) ?? report.sent),
  }));
}
