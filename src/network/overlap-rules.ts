import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  type Ip,
  type Ipv4,
  ipv4,
  lastAddress,
  masked,
  type Prefix,
} from '#src/lib/ip.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';

/** From the first to the last address, both included. */
export interface AddressRange {
  readonly first: Ipv4;
  readonly last: Ipv4;
}

/** An address that the host must reach outside the overlay. */
export interface NeededAddress {
  readonly ip: Ip;
  /** As in "holds 192.0.2.1, the default gateway". */
  readonly use: string;
}

/**
 * What a subnet of the network must not hide. The overlay has a route for each subnet and none for the whole network, so a
 * network may contain its own hosts: flannel's documentation has 10.0.0.0/8 with SubnetMin and SubnetMax.
 */
export interface OverlapRules {
  /** The addresses that the network hands out to hosts. */
  readonly handedOut: AddressRange;
  /** The networks that the underlay's interface is connected to. */
  readonly connected: readonly Prefix[];
  readonly needed: readonly NeededAddress[];
  /** `--allow-overlap`: other hosts of the connected networks may be hidden. What is needed may not. */
  readonly allowed: boolean;
}

/** All addresses of the subnets from SubnetMin to SubnetMax. */
export const handedOutBy = ({
  subnetMin,
  subnetMax,
  subnetLength,
}: Pick<NetworkConfig, 'subnetMin' | 'subnetMax' | 'subnetLength'>): AddressRange => ({
  first: subnetMin,
  last: ipv4(subnetMax + 2 ** (32 - subnetLength) - 1),
});

export const isInRange = ({ first, last }: AddressRange, ip: Ipv4): boolean => first <= ip && ip <= last;

/** Whether the range and the prefix share an address; never across families. */
export const rangeOverlaps = ({ first, last }: AddressRange, prefix: Prefix): boolean =>
  prefix.family === 4 && masked(prefix).address <= last && lastAddress(prefix) >= first;

/**
 * Why a route to this subnet would take something real away from the host, as a clause about the subnet; `undefined` when
 * it would not. The longest prefix wins in the kernel: a subnet that is wider than a connected network hides nothing of it.
 */
export function hiddenBy(subnet: Prefix, { connected, needed, allowed }: OverlapRules): string | undefined {
  for (const { ip, use } of needed) {
    if (containsAddress(subnet, ip) && !isConnectedInside(connected, subnet, ip))
      return `holds ${formatIp(ip)}, ${use}`;
  }
  if (allowed) return undefined;
  for (const network of connected) {
    if (containsPrefix(network, subnet)) return `overlaps the underlay's ${formatPrefix(network)}`;
  }
  return undefined;
}

const isConnectedInside = (connected: readonly Prefix[], subnet: Prefix, ip: Ip): boolean =>
  connected.some((network) => network.length > subnet.length && containsAddress(network, ip));
