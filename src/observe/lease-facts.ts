import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** What a lease says; fields that can't be read are absent. */
export interface LeaseFacts {
  readonly lease: string;
  /** The IPv4 subnet, or the IPv6 one where there is no other. */
  readonly subnet?: string;
  /** Of a lease that has both. */
  readonly ipv6Subnet?: string;
  /** Likewise. Go writes the zero address for none. */
  readonly publicIp?: string;
  readonly publicIpv6?: string;
  readonly backend?: string;
  readonly node?: string;
}

/** Of a record, whatever is in it. `known`: what it says, where that has been read already. */
export function leaseFacts(
  { name, value }: Pick<RawLease, 'name' | 'value'>,
  known?: { readonly subnets: Subnets; readonly attributes: LeaseAttributes },
): LeaseFacts {
  const { v4, v6 } = known?.subnets ?? parseSubnetName(name) ?? {};
  const [subnet, ipv6Subnet] = v4 === undefined ? [v6] : [v4, v6];
  const decoded = known === undefined ? decodeAttributes(value) : undefined;
  const attributes = known?.attributes ?? (decoded?.ok ? decoded.attributes : undefined);
  const [publicIp, publicIpv6] = attributes?.publicIp
    ? [attributes.publicIp, attributes.publicIpv6]
    : [attributes?.publicIpv6 ?? attributes?.publicIp];
  return {
    lease: name,
    ...(subnet !== undefined && { subnet: formatPrefix(subnet) }),
    ...(ipv6Subnet !== undefined && { ipv6Subnet: formatPrefix(ipv6Subnet) }),
    ...(publicIp !== undefined && { publicIp: formatIp(publicIp) }),
    ...(publicIpv6 !== undefined && { publicIpv6: formatIp(publicIpv6) }),
    ...(attributes !== undefined && { backend: attributes.backendType }),
    ...(attributes?.node !== undefined && { node: attributes.node }),
  };
}

/** Whole seconds until a time, never less than none. */
export const secondsUntil = (at: number, now: number): number => Math.max(0, Math.round((at - now) / 1_000));
