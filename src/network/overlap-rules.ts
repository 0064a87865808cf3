import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  type Ip,
  type Ipv4,
  type Ipv6,
  isIpv4,
  lastAddress,
  masked,
  type Prefix,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';
import { mapFamilies, type PerFamily } from '#src/lib/per-family.ts';
import type { Ranges } from '#src/network/subnet-range.ts';

/** From the first to the last address, both included. */
export interface AddressRange<A extends Ip = Ip> {
  readonly first: A;
  readonly last: A;
}

/** The addresses of each family that a network hands out to hosts. */
export type HandedOut = PerFamily<AddressRange<Ipv4>, AddressRange<Ipv6>>;

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
  readonly handedOut: HandedOut;
  /** The networks that the underlay's interface is connected to. */
  readonly connected: readonly Prefix[];
  readonly needed: readonly NeededAddress[];
  /** `--allow-overlap`: other hosts of the connected networks may be hidden. What is needed may not. */
  readonly allowed: boolean;
}

/** All addresses of the subnets from SubnetMin to SubnetMax. */
export const handedOutBy = (ranges: Ranges): HandedOut =>
  mapFamilies(
    ranges,
    ({ subnetMin, subnetMax, subnetLength }) => ({
      first: subnetMin,
      last: lastAddress(prefix4(subnetMax, subnetLength)),
    }),
    ({ subnetMin, subnetMax, subnetLength }) => ({
      first: subnetMin,
      last: lastAddress(prefix6(subnetMax, subnetLength)),
    }),
  );

/** Whether the network hands out this address. */
export function isInRange({ v4, v6 }: HandedOut, ip: Ip): boolean {
  const range: AddressRange | undefined = isIpv4(ip) ? v4 : v6;
  return range !== undefined && range.first <= ip && ip <= range.last;
}

/** Whether the network hands out an address of the prefix. */
export function rangeOverlaps({ v4, v6 }: HandedOut, prefix: Prefix): boolean {
  const range: AddressRange | undefined = prefix.family === 4 ? v4 : v6;
  return range !== undefined && masked(prefix).address <= range.last && lastAddress(prefix) >= range.first;
}

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
