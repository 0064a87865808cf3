import { peerWith } from '#src/diagnose/known-families.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import type { Eye } from '#src/diagnose/trace/eye.ts';
import { containsAddress, type Ip, isIpv4 } from '#src/lib/ip.ts';
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
  to: Ip,
  lookup: RouteLookup | undefined,
): WantedWay | undefined {
  const peer = peerWith(known, to);
  const { backend } = known;
  if (peer === undefined || backend === undefined) return peer && { peer };
  const lease = {
    subnets: peer.subnets,
    attributes: peer.attributes,
    expiry: { kind: 'reservation' },
    name: peer.lease,
    revision: 0n,
  } as const;
  const ways = lookup === undefined ? {} : { lookup: { [isIpv4(to) ? 'v4' : 'v6']: lookup } };
  const objects = backend.peerObjects(lease, { ...ways, routeForm: 'flannel' });
  // A peer of both families has a route in each, and what goes with it is on the same device.
  const route = objects.find(
    (object): object is Route => object.kind === 'route' && containsAddress(object.destination, to),
  );
  const neighbour = objects.find(
    (object): object is Neighbour => object.kind === 'neighbour' && object.ip === route?.via,
  );
  const fdb = objects.find(
    (object): object is FdbEntry =>
      object.kind === 'fdb' && object.device === route?.device && object.mac === neighbour?.mac,
  );
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
export async function lookupOf(eye: Eye, known: KnownNetwork, to: Ip): Promise<RouteLookup | undefined> {
  const publicIp = known.peers.find(({ subnet }) => containsAddress(subnet, to))?.publicIp;
  if (known.backend?.needsLookup !== true || publicIp === undefined) return undefined;
  const decision = await eye.route({ to: publicIp });
  if (decision.outcome === 'refused') return undefined;
  const { device, via, source } = decision;
  return { device, ...(via !== undefined && { via }), ...(source !== undefined && { source }) };
}

/** The overlay's device for the family of the subnet, as it should be; `undefined` for a backend that has none. */
export function ownDevice({ backend, subnets, subnet }: KnownNetwork): Link | undefined {
  const objects = backend?.ownObjects(subnets) ?? [];
  const links = objects.filter((object) => object.kind === 'link');
  const address = objects.find(
    (object) => object.kind === 'address' && object.prefix.family === subnet.family,
  );
  const device = address?.kind === 'address' ? address.device : undefined;
  return links.find(({ name }) => name === device) ?? links[0];
}
