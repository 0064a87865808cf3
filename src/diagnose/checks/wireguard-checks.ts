import { type Check, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { peersNow } from '#src/diagnose/checks/peers-now.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import { type Handshake, SESSION_MS } from '#src/diagnose/facts/handshakes.ts';
import { tunnelPortOf } from '#src/diagnose/known-network.ts';
import { formatIp } from '#src/lib/ip.ts';

export const WIREGUARD_CHECKS: readonly Check[] = [
  {
    id: 'wireguard-handshake',
    title: 'WireGuard shakes hands with peers',
    why: 'Packets to a peer without a handshake wait, and are then lost: its port is closed on the way, or one of the two hosts has another key of the other.',
    causes: [...REACH],
    look(facts) {
      const overdue = known(facts.handshakes).filter((seen) => isOverdue(seen, facts.now));
      const [first] = overdue;
      if (first === undefined) return undefined;
      const { backend, settings } = known(facts.network);
      const peers = overdue.map(({ publicKey }) => {
        const peer = peersNow(facts).find(({ attributes }) =>
          [backend?.identityOf?.(attributes) ?? []].flat().includes(publicKey),
        );
        const at = peer?.publicIp === undefined ? peer?.lease : `${formatIp(peer.publicIp)} (${peer.lease})`;
        return { lease: peer?.lease, name: at ?? `the key ${publicKey}` };
      });
      const since = first.at === 0 ? 'ever' : `for ${Math.floor((facts.now - first.at) / 60_000)} minutes`;
      const leases = peers.flatMap(({ lease }) => lease ?? []);
      return {
        what: `There was no handshake ${since}, although packets were sent, with ${some(peers.map(({ name }) => name))}.`,
        remedy: `let UDP ${tunnelPortOf(settings) ?? 51_820} pass between the hosts, and compare "wg show ${first.device}" on both: each must have the other's key, and both the same PSK`,
        ...(leases.length > 0 && { leases }),
      };
    },
  },
];

function isOverdue({ at, sent, sentMeanwhile }: Handshake, now: number): boolean {
  return at === 0 ? sent > 0 : now - at > SESSION_MS && sentMeanwhile > 0;
}
