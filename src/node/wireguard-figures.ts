import type { Backend } from '#src/backend/backend.ts';
import type { WireguardPeerReport } from '#src/kernel/wireguard-messages.ts';
import { formatEndpoint } from '#src/lib/endpoint.ts';
import type { Lease } from '#src/network/lease.ts';
import type { WireguardFigures } from '#src/observe/api.ts';

/** What WireGuard says of the peers of a device. */
export interface TunnelReports {
  reports(device: string): Promise<readonly WireguardPeerReport[]>;
}

/** The figures of each peer of a backend, by its keys; `undefined` where the backend has no tunnel of WireGuard's. */
export async function readWireguardFigures(
  tunnels: TunnelReports,
  backend: Pick<Backend, 'devices' | 'identityOf' | 'protectionOf'>,
): Promise<((lease: Lease) => WireguardFigures | undefined) | undefined> {
  if (backend.protectionOf === undefined) return undefined;
  const byKey = new Map<string, WireguardPeerReport[]>();
  for (const device of backend.devices) {
    for (const report of await tunnels.reports(device).catch(() => [])) {
      const others = byKey.get(report.publicKey);
      if (others === undefined) byKey.set(report.publicKey, [report]);
      else others.push(report);
    }
  }
  if (byKey.size === 0) return undefined;
  return ({ attributes }) => {
    const keys = [backend.identityOf?.(attributes) ?? []].flat();
    return sumOf(keys.flatMap((key) => byKey.get(key) ?? []));
  };
}

function sumOf(reports: readonly WireguardPeerReport[]): WireguardFigures | undefined {
  const [latest] = [...reports].sort((a, b) => b.handshakeAt - a.handshakeAt);
  if (latest === undefined) return undefined;
  const { endpoint, handshakeAt } = latest;
  const sum = (field: 'received' | 'sent') => reports.reduce((total, report) => total + report[field], 0);
  return {
    ...(endpoint !== undefined && { endpoint: formatEndpoint(endpoint) }),
    ...(handshakeAt > 0 && { handshakeAt: new Date(handshakeAt).toISOString() }),
    received: sum('received'),
    sent: sum('sent'),
  };
}
