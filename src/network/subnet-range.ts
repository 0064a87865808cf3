import {
  containsPrefix,
  equalPrefix,
  hasHostBits,
  type Ip,
  type Ipv4,
  type Ipv6,
  ipv4,
  ipv6,
  type Prefix,
  type Prefix4,
  type Prefix6,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';
import { FAMILY_NAMES, mapFamilies, type PerFamily } from '#src/lib/per-family.ts';
import type { Subnets } from '#src/network/lease.ts';

/** The subnets of one family that a network hands out. */
export interface SubnetRange<P extends Prefix = Prefix, A extends Ip = Ip> {
  /** Host bits are clear. */
  readonly network: P;
  /** Prefix length of every host's subnet. */
  readonly subnetLength: number;
  /** First and last subnet that may be handed out, by base address, on a subnet boundary. */
  readonly subnetMin: A;
  readonly subnetMax: A;
}

export type Range4 = SubnetRange<Prefix4, Ipv4>;
export type Range6 = SubnetRange<Prefix6, Ipv6>;
/** Of a network: at least one family is set. */
export type Ranges = PerFamily<Range4, Range6>;

/** The whole network of each family. */
export const networksOf = (ranges: Ranges): PerFamily<Prefix4, Prefix6> =>
  mapFamilies(
    ranges,
    ({ network }) => network,
    ({ network }) => network,
  );

/** Whether the subnet may be handed out from this range. */
export const isUsable = ({ subnetLength, subnetMin, subnetMax }: SubnetRange, subnet: Prefix): boolean =>
  subnet.length === subnetLength &&
  subnet.address >= subnetMin &&
  subnet.address <= subnetMax &&
  !hasHostBits(subnet);

/** Those of the subnets that may be handed out. */
export function usableOf(ranges: Ranges, { v4, v6 }: Subnets): Subnets {
  return {
    ...(v4 !== undefined && ranges.v4 !== undefined && isUsable(ranges.v4, v4) && { v4 }),
    ...(v6 !== undefined && ranges.v6 !== undefined && isUsable(ranges.v6, v6) && { v6 }),
  };
}

/** Whether a lease of these subnets is one of the network: a subnet in each of its families, and none in another. */
export const areUsable = (ranges: Ranges, subnets: Subnets): boolean =>
  FAMILY_NAMES.every((family) => {
    const [range, subnet] = [ranges[family], subnets[family]];
    return range === undefined || subnet === undefined ? range === subnet : isUsable(range, subnet);
  });

/** Whether each of the subnets is in the network of its family. */
export const areIn = (ranges: Ranges, subnets: Subnets): boolean =>
  FAMILY_NAMES.every((family) => {
    const [range, subnet] = [ranges[family], subnets[family]];
    return subnet === undefined || (range !== undefined && containsPrefix(range.network, subnet));
  });

export const equalSubnets = (a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean =>
  FAMILY_NAMES.every((family) => {
    const [one, other] = [a[family], b[family]];
    return one === undefined || other === undefined ? one === other : equalPrefix(one, other);
  });

/** How many subnets the range has to hand out; more than 2^53 are not counted exactly. */
export const subnetCount = (range: SubnetRange): number => numberOf(range, range.subnetMax) + 1;

/** The number, counted from SubnetMin, of the subnet that an address is in; below 0 before it. */
export function numberOf({ subnetMin, subnetLength }: SubnetRange, address: Ip): number {
  if (typeof address === 'number') {
    return Math.floor((address - Number(subnetMin)) / 2 ** (32 - subnetLength));
  }
  return Number((address - BigInt(subnetMin)) >> BigInt(128 - subnetLength));
}

/** The subnet of that number, counted from SubnetMin. */
export function subnetAt<P extends Prefix>(
  { network, subnetMin, subnetLength }: SubnetRange<P>,
  number: number,
): P {
  const subnet =
    network.family === 4
      ? prefix4(ipv4(Number(subnetMin) + number * 2 ** (32 - subnetLength)), subnetLength)
      : prefix6(ipv6(BigInt(subnetMin) + (BigInt(number) << BigInt(128 - subnetLength))), subnetLength);
  return subnet as Prefix as P;
}
