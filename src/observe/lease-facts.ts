import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** What a lease says; fields that can't be read are absent. */
export interface LeaseFacts {
  readonly lease: string;
  readonly subnet?: string;
  readonly publicIp?: string;
  readonly backend?: string;
  readonly node?: string;
}

/** Of a record, whatever is in it. `known`: what it says, where that has been read already. */
export function leaseFacts(
  { name, value }: Pick<RawLease, 'name' | 'value'>,
  known?: { readonly subnets: Subnets; readonly attributes: LeaseAttributes },
): LeaseFacts {
  const { v4, v6 } = known?.subnets ?? parseSubnetName(name) ?? {};
  const subnet = v4 ?? v6;
  const decoded = known === undefined ? decodeAttributes(value) : undefined;
  const attributes = known?.attributes ?? (decoded?.ok ? decoded.attributes : undefined);
  const publicIp = attributes?.publicIp ?? attributes?.publicIpv6;
  return {
    lease: name,
    ...(subnet !== undefined && { subnet: formatPrefix(subnet) }),
    ...(publicIp !== undefined && { publicIp: formatIp(publicIp) }),
    ...(attributes !== undefined && { backend: attributes.backendType }),
    ...(attributes?.node !== undefined && { node: attributes.node }),
  };
}

/** Whole seconds until a time, never less than none. */
export const secondsUntil = (at: number, now: number): number => Math.max(0, Math.round((at - now) / 1_000));
