import type { Ip, Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { PerFamily } from '#src/lib/per-family.ts';

/**
 * A tenant: an isolated layer-2 network over all hosts, with a VNI and subnets of its own. Its addresses may repeat in
 * another tenant. Docker's networks of the driver `weft` are tenants.
 */
export interface Tenant {
  readonly name: string;
  /** 24 bits, never 0 (RFC 7348 §5). No two tenants have the same. */
  readonly vni: number;
  /** At least one. */
  readonly subnets: PerFamily<TenantSubnet<Prefix4>, TenantSubnet<Prefix6>>;
  /** Bytes of layer-3 payload, the same on all hosts; without it what the underlay of a host leaves. */
  readonly mtu?: number;
  /** Without a way out of the tenant: Docker adds no second interface. */
  readonly internal: boolean;
}

export interface TenantSubnet<P extends Prefix = Prefix> {
  /** Without host bits. */
  readonly prefix: P;
  /** Addresses are chosen from here; `--ip` may give any of the subnet. */
  readonly range?: P;
  /** Reserved on every host: our responder for names has it. */
  readonly gateway: P['address'];
  /** Docker's `--aux-address`: reserved by name. */
  readonly auxiliary: Readonly<Record<string, P['address']>>;
}

/**
 * `reserved`: a host has the address and no container uses it yet, or one that moved does not run yet.
 * `published`: a container on the host has it, and other hosts send there.
 * `released`: nobody has it. Any host may take it for a container that asks for this very address; it is chosen last.
 * `kept`: as `released`, but never chosen and never forgotten.
 */
export type AddressState = 'reserved' | 'published' | 'released' | 'kept';

/** One address of a tenant. The record is the claim, and what other hosts program from. */
export interface AddressRecord {
  readonly ip: Ip;
  readonly state: AddressState;
  /** The identity of the host that has it, or had it last. */
  readonly host: string;
  /** The underlay address of that host. */
  readonly vtep: Ip;
  /** Absent until the endpoint is made. It stays with the address when that is released. */
  readonly mac?: Mac;
  /** Docker's endpoint, 64 hex digits. */
  readonly endpoint?: string;
  /** Docker's container, 64 hex digits. */
  readonly container?: string;
  /** The container's name first, then its aliases in this tenant. */
  readonly names: readonly string[];
  /** The identity of a host that may take it while it is published: `weft address move`. */
  readonly to?: string;
  /** Survives its release: `weft address keep`. */
  readonly keep: boolean;
  /** When it came into this state, in milliseconds since the epoch. */
  readonly since: number;
}
