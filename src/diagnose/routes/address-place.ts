import { knownInFamilyOf, peerWith } from '#src/diagnose/known-families.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { containsAddress, type Ip, parsePrefix } from '#src/lib/ip.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';

/** A network of this host, and the leases that it does not use. */
export interface KnownPlace {
  readonly known: KnownNetwork;
  /** How this host writes its routes to peers. */
  readonly routeForm: 'flannel' | 'linear';
  readonly quarantined: readonly {
    readonly subnet: string;
    readonly lease: string;
    readonly reason: string;
  }[];
}

/** Whose address it is. */
export type AddressPlace =
  | { readonly kind: 'own' | 'free'; readonly place: KnownPlace }
  | { readonly kind: 'peer'; readonly place: KnownPlace; readonly peer: KnownPeer }
  | {
      readonly kind: 'quarantined';
      readonly place: KnownPlace;
      readonly lease: KnownPlace['quarantined'][number];
    }
  | { readonly kind: 'docker'; readonly network: DriverNetwork }
  | { readonly kind: 'outside' /** Peers whose public IP it is. */; readonly holders: readonly KnownPeer[] };

/** The most specific of what this host knows: a lease, then a network of Docker's driver, then a network's range. */
export function placeOf(
  ip: Ip,
  places: readonly KnownPlace[],
  docker: readonly DriverNetwork[],
): AddressPlace {
  const inFamily = places.flatMap((place): KnownPlace[] => {
    const known = knownInFamilyOf(place.known, ip);
    return known === undefined ? [] : [{ ...place, known }];
  });
  for (const place of inFamily) {
    const peer = peerWith(place.known, ip);
    if (peer !== undefined) return { kind: 'peer', place, peer };
    if (containsAddress(place.known.subnet, ip)) return { kind: 'own', place };
  }
  const network = docker.find(({ subnets }) => subnets.some((subnet) => isIn(subnet, ip)));
  if (network !== undefined) return { kind: 'docker', network };
  for (const place of places) {
    const lease = place.quarantined.find(({ subnet }) => isIn(subnet, ip));
    if (lease !== undefined) return { kind: 'quarantined', place, lease };
  }
  for (const place of inFamily) if (containsAddress(place.known.network, ip)) return { kind: 'free', place };
  const peers = places.flatMap(({ known }) => known.peers);
  return {
    kind: 'outside',
    holders: peers.filter(({ publicIp, attributes }) => publicIp === ip || attributes.publicIpv6 === ip),
  };
}

function isIn(subnet: string, ip: Ip): boolean {
  const prefix = parsePrefix(subnet);
  return prefix !== undefined && containsAddress(prefix, ip);
}
