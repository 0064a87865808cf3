import type { Backend } from '#src/backend/backend.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseEntry } from '#src/network/lease-table.ts';
import type { Peer, PeerProbe, WireguardFigures } from '#src/observe/api.ts';
import { leaseFacts, secondsUntil } from '#src/observe/lease-facts.ts';
import type { SubjectState } from '#src/reconcile/subject-state.ts';

export interface PeerSources {
  readonly entries: Iterable<LeaseEntry>;
  readonly backend: Pick<Backend, 'tunnelEnd' | 'protectionOf'>;
  /** Peers whose lease is good and to which there is no way, with the reason. */
  readonly unreachable: ReadonlyMap<string, string>;
  /** Whether what a lease needs is in the kernel. */
  readonly stateOf: (lease: string) => SubjectState;
  /** What was measured of a peer. */
  readonly probeOf: (lease: string) => PeerProbe | undefined;
  /** What WireGuard says of the tunnels to a peer; absent where there are none. */
  readonly wireguardOf?: (lease: Lease) => WireguardFigures | undefined;
  /** The wall time of a time in an entry, in milliseconds since the epoch. */
  readonly timeOf: (seconds: number) => number;
  /** Wall time, milliseconds since the epoch. */
  readonly now: number;
}

/** The hosts of the network that are not this one, each as it is when its turn comes. */
export function* peersOf(sources: PeerSources): Generator<Peer> {
  for (const entry of sources.entries) yield peerOf(entry, sources);
}

function peerOf({ raw, lease, reason, seen, since }: LeaseEntry, sources: PeerSources): Peer {
  const { backend, probeOf, timeOf, now } = sources;
  const { expiry } = raw;
  const end = lease && backend.tunnelEnd?.(lease);
  const probe = lease && probeOf(raw.name);
  const encryption = lease && backend.protectionOf?.(lease);
  const wireguard = lease && sources.wireguardOf?.(lease);
  return {
    ...leaseFacts(raw, lease),
    ...(end !== undefined && { vtep: { address: formatIp(end.address), mac: end.mac } }),
    ...(encryption !== undefined && { encryption }),
    ...(wireguard !== undefined && { wireguard }),
    lastSeen: isoSeconds(timeOf(seen)),
    ...(expiry.kind === 'expires' && { remainingSeconds: secondsUntil(expiry.at, now) }),
    ...(reason === undefined ? programmedOf(raw.name, sources) : { programmed: 'quarantined', reason }),
    since: isoSeconds(timeOf(since)),
    ...(probe !== undefined && { probe }),
  };
}

function programmedOf(
  name: string,
  { unreachable, stateOf }: PeerSources,
): Pick<Peer, 'programmed' | 'reason'> {
  const noWay = unreachable.get(name);
  if (noWay !== undefined) return { programmed: 'no', reason: noWay };
  const state = stateOf(name);
  if (state.isDone) return { programmed: 'yes' };
  const { key, reason = 'its turn has yet to come' } = state;
  return { programmed: 'no', reason: `${key}: ${reason}` };
}

/** The table counts whole seconds. */
const isoSeconds = (at: number): string => new Date(Math.round(at / 1_000) * 1_000).toISOString();
