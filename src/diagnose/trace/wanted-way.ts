import { type KnownNetwork, type KnownPeer, peerWith } from '#src/diagnose/known-network.ts';
import type { Eye } from '#src/diagnose/trace/eye.ts';
import { containsAddress, type Ipv4 } from '#src/lib/ip.ts';
import type { FdbEntry, Link, Neighbour, Route } from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** What this host should have for packets to one peer, as its backend wants it. */
export interface WantedWay {
  readonly peer: KnownPeer;
  readonly route?: Route;
  readonly neighbour?: Neighbour;
  readonly fdb?: FdbEntry;
  /** The overlay's device, where the backend has one. */
  readonly device?: Link;
}

/** The way to the peer whose subnet has the address; `undefined` when no peer has it, or the backend is not known. */
export function wantedWay(
  known: KnownNetwork,
  to: Ipv4,
  lookup: RouteLookup | undefined,
): WantedWay | undefined {
  const peer = peerWith(known, to);
  const { backend } = known;
  if (peer === undefined || backend === undefined) return peer && { peer };
  const lease = {
    subnets: { v4: peer.subnet },
    attributes: peer.attributes,
    expiry: { kind: 'reservation' },
    name: peer.lease,
    revision: 0n,
  } as const;
  const path = { ...(lookup !== undefined && { lookup: { v4: lookup } }), routeForm: 'flannel' } as const;
  const objects = backend.peerObjects(lease, path);
  const route = objects.find((object) => object.kind === 'route');
  const neighbour = objects.find((object) => object.kind === 'neighbour');
  const fdb = objects.find((object) => object.kind === 'fdb');
  const device = ownDevice(known);
  return {
    peer,
    ...(route !== undefined && { route }),
    ...(neighbour !== undefined && { neighbour }),
    ...(fdb !== undefined && { fdb }),
    ...(device !== undefined && fdb !== undefined && { device }),
  };
}

/** The kernel's way to the peer's public address, for backends that ask for it. */
export async function lookupOf(eye: Eye, known: KnownNetwork, to: Ipv4): Promise<RouteLookup | undefined> {
  const publicIp = known.peers.find(({ subnet }) => containsAddress(subnet, to))?.publicIp;
  if (known.backend?.needsLookup !== true || publicIp === undefined) return undefined;
  const decision = await eye.route({ to: publicIp });
  if (decision.outcome === 'refused') return undefined;
  const { device, via, source } = decision;
  return { device, ...(via !== undefined && { via }), ...(source !== undefined && { source }) };
}

/** The overlay's device as it should be; `undefined` for a backend that has none. */
export function ownDevice({ backend, subnet }: KnownNetwork): Link | undefined {
  return backend?.ownObjects({ v4: subnet }).find((object) => object.kind === 'link');
}
