import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import type { LeaseRecord, Snapshot, WatchBatch } from '#src/registry/registry.ts';
import { addressName, parseAddress, parseAddressName } from '#src/tenant/address-codec.ts';
import { AddressPool } from '#src/tenant/address-pool.ts';
import { isHeld } from '#src/tenant/held-address.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';

/** An address, and its record as it is stored. */
export interface KnownAddress extends AddressRecord {
  readonly stored: LeaseRecord;
}

/** An address has another record, or none: `before` is the one it had. */
export type AddressListener = (
  ip: Ip,
  now: KnownAddress | undefined,
  before: KnownAddress | undefined,
) => void;

export interface AddressTableOptions {
  readonly onChange: AddressListener;
  /** A record that can't be used, and why. */
  readonly onRefused: (name: string, why: string) => void;
}

/** How long an address stays in doubt whose record went without a release, in milliseconds. */
const DOUBT_MS = 600_000;

/**
 * The addresses of one tenant as this host knows them: from a list, from events, and from its own writes, which are known
 * before their events come. An address that was in use and whose record is gone is in doubt for a while: its store was
 * emptied, and the container that uses it is still there.
 */
export class AddressTable {
  readonly #pools: { readonly v4?: AddressPool<KnownAddress>; readonly v6?: AddressPool<KnownAddress> };
  readonly #doubts = new Map<Ip, number>();
  readonly #options: AddressTableOptions;

  constructor({ subnets }: Tenant, options: AddressTableOptions) {
    this.#options = options;
    this.#pools = {
      ...(subnets.v4 && { v4: new AddressPool<KnownAddress>(subnets.v4) }),
      ...(subnets.v6 && { v6: new AddressPool<KnownAddress>(subnets.v6) }),
    };
  }

  /** The addresses of a family; `undefined` where the tenant has no subnet of it. */
  pool(family: 4 | 6): AddressPool<KnownAddress> | undefined {
    return family === 4 ? this.#pools.v4 : this.#pools.v6;
  }

  get(ip: Ip): KnownAddress | undefined {
    return this.#poolOf(ip)?.get(ip);
  }

  /** Why the record of an address can't be read; `undefined` where it can, or where there is none. */
  faultOf(ip: Ip): string | undefined {
    return this.#poolOf(ip)?.faultOf(ip);
  }

  *all(): Generator<KnownAddress> {
    yield* this.#pools.v4?.values() ?? [];
    yield* this.#pools.v6?.values() ?? [];
  }

  /** Addresses whose records went without a release, lately. */
  doubts(now: number): Ip[] {
    for (const [ip, until] of this.#doubts) if (until <= now) this.#doubts.delete(ip);
    return [...this.#doubts.keys()];
  }

  /** All addresses again. A store that was emptied may count revisions from the beginning. */
  replaceAll({ records }: Snapshot, now: number): void {
    const names = new Set(records.map(({ name }) => name));
    for (const { ip } of [...this.all()]) if (!names.has(addressName(ip))) this.#vanish(ip, now);
    for (const record of records) this.#take(record);
  }

  apply({ events, revision }: WatchBatch, now: number): void {
    for (const event of events) {
      if (event.type === 'put') {
        this.learn(event.record);
        continue;
      }
      const ip = parseAddressName(event.name);
      // An own write may be known that came after the removal.
      if (ip !== undefined && (this.get(ip)?.stored.revision ?? 0n) <= revision) this.#vanish(ip, now);
    }
  }

  /** A record as it was read or written. One that is not newer than the known one is left out. */
  learn(stored: LeaseRecord): void {
    const ip = parseAddressName(stored.name);
    const known = ip === undefined ? undefined : this.get(ip);
    if (known === undefined || known.stored.revision < stored.revision) this.#take(stored);
  }

  /** The record is gone by our own hand. */
  forget(ip: Ip): void {
    const pool = this.#poolOf(ip);
    const before = pool?.get(ip);
    pool?.delete(ip);
    if (before !== undefined) this.#options.onChange(ip, undefined, before);
  }

  #take(stored: LeaseRecord): void {
    const read = parseAddress(stored.name, stored.value);
    const ip = parseAddressName(stored.name);
    const pool = ip === undefined ? undefined : this.#poolOf(ip);
    if (!read.ok) {
      this.#options.onRefused(stored.name, read.reason);
      if (ip === undefined) return;
      this.forget(ip);
      pool?.setUnreadable(ip, read.reason);
      return;
    }
    const now: KnownAddress = { ...read.value, stored };
    const before = pool?.get(now.ip);
    pool?.set(now);
    this.#doubts.delete(now.ip);
    if (pool !== undefined) this.#options.onChange(now.ip, now, before);
  }

  #vanish(ip: Ip, now: number): void {
    const record = this.get(ip);
    if (record !== undefined && isHeld(record)) this.#doubts.set(ip, now + DOUBT_MS);
    this.forget(ip);
  }

  #poolOf(ip: Ip): AddressPool<KnownAddress> | undefined {
    return isIpv4(ip) ? this.#pools.v4 : this.#pools.v6;
  }
}
