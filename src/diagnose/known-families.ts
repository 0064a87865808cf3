import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { containsAddress, type Ip, isIpv4, type Prefix } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import type { Subnets } from '#src/network/lease.ts';
import { outerFamily } from '#src/network/outer-family.ts';

/**
 * The network as it is for packets of the address's family: its own subnet and its peers' are of that family, and the
 * addresses outside are those of the tunnels that carry it. `undefined` where the network has no such family here.
 */
export function knownInFamilyOf(known: KnownNetwork, ip: Ip): KnownNetwork | undefined {
  const family = isIpv4(ip) ? 'v4' : 'v6';
  const [network, subnet] = [known.networks[family], known.subnets[family]];
  if (network === undefined || subnet === undefined) return undefined;
  const { underlay } = known;
  const outer = underlay === undefined ? family : outerFamily(family, underlay.addresses);
  const seen = (peer: KnownPeer): KnownPeer[] => {
    const its = peer.subnets[family];
    const { publicIp: _, ...rest } = peer;
    const publicIp = outer === 'v4' ? peer.attributes.publicIp : peer.attributes.publicIpv6;
    return its === undefined ? [] : [{ ...rest, subnet: its, ...(publicIp !== undefined && { publicIp }) }];
  };
  const address = underlay?.addresses[outer] ?? underlay?.address;
  const publicIp = underlay?.publicIps[outer] ?? underlay?.publicIp;
  return {
    ...known,
    network,
    subnet,
    ...(underlay !== undefined &&
      address !== undefined &&
      publicIp !== undefined && { underlay: { ...underlay, address, publicIp } }),
    peers: known.peers.flatMap(seen),
  };
}

/** The peer whose subnet has the address. */
export const peerWith = ({ peers }: Pick<KnownNetwork, 'peers'>, ip: Ip): KnownPeer | undefined =>
  peers.find(({ subnets }) => hasAddress(subnets, ip));

/** Whether one of the subnets has the address. */
export const hasAddress = (subnets: Subnets, ip: Ip): boolean =>
  valuesOf<Prefix, Prefix>(subnets).some((subnet) => containsAddress(subnet, ip));

/** One family of a network on a host. */
export interface KnownFamily {
  readonly network: Prefix;
  readonly subnet: Prefix;
}

/** Each family of the network. */
export const familiesKnown = ({
  networks: { v4, v6 },
  subnets,
}: Pick<KnownNetwork, 'networks' | 'subnets'>): KnownFamily[] => [
  ...(v4 !== undefined && subnets.v4 !== undefined ? [{ network: v4, subnet: subnets.v4 }] : []),
  ...(v6 !== undefined && subnets.v6 !== undefined ? [{ network: v6, subnet: subnets.v6 }] : []),
];
