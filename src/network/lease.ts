import type { Ipv4, Ipv6, Prefix4, Prefix6 } from '#src/lib/ip.ts';

/** What a host holds: a subnet of the v4 network, of the v6 network, or of both. At least one is set. */
export interface Subnets {
  readonly v4?: Prefix4;
  readonly v6?: Prefix6;
}

/** A JSON value as `JSON.parse` gives it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What the holder publishes about itself (flannel's `LeaseAttrs`, contract §2.1). */
export interface LeaseAttributes {
  readonly publicIp?: Ipv4;
  readonly publicIpv6?: Ipv6;
  /** `vxlan`, `host-gw`, …; empty where flannel writes none (udp, alloc). */
  readonly backendType: string;
  /** The backend's own data, as its codec wrote it; absent when there is none. */
  readonly backendData?: Json;
  readonly backendV6Data?: Json;
  /** Our extra field: the stable identity of the node that holds the lease. flannel ignores it. */
  readonly node?: string;
  /** What only wefts read of each other, by its name. One field, so that flannel's own stay as they are. */
  readonly weft?: { readonly [name: string]: Json };
}

/** A key without TTL is a reservation: an operator pinned the subnet, and it never expires. */
export type Expiry =
  | { readonly kind: 'reservation' }
  /** `at`: milliseconds since the epoch. */
  | { readonly kind: 'expires'; readonly at: number }
  /** etcd v3 reports a lease's remaining time only on request. */
  | { readonly kind: 'leased'; readonly leaseId: bigint };

export interface Lease {
  readonly subnets: Subnets;
  readonly attributes: LeaseAttributes;
  readonly expiry: Expiry;
  /** The record it was read from: its name below `<prefix>/subnets/`, and the store's revision of that key. */
  readonly name: string;
  readonly revision: bigint;
}
