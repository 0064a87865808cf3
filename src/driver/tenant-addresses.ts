import { type AddressListener, AddressTable, type KnownAddress } from '#src/driver/address-table.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, type Prefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { LeaseWatcher, type WatcherState } from '#src/registry/lease-watcher.ts';
import type { Records } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { addressName, formatAddress } from '#src/tenant/address-codec.ts';
import { isHandedOver, planAddress } from '#src/tenant/address-plan.ts';
import { freedAddress } from '#src/tenant/held-address.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';

export interface TenantAddressesComponents {
  readonly records: Records;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** This host, as it is now. */
  readonly self: () => { readonly id: string; readonly vtep: Ip };
  /** The name of another host, for messages. */
  readonly hostName: (host: string) => string | undefined;
}

export interface TenantAddressesOptions {
  readonly tenant: Tenant;
  readonly onChange: AddressListener;
}

export interface AddressWish {
  readonly family: 4 | 6;
  readonly ip?: Ip;
  readonly range?: Prefix;
  readonly container?: string;
  /** The host bits of the container's IPv4 address, for one of IPv6. */
  readonly hostNumber?: number;
}

/** What this host wants of the record of an address. */
export type WantedAddress = Omit<AddressRecord, 'ip' | 'host' | 'vtep' | 'to' | 'since'>;

export interface ClaimedAddress {
  readonly ip: Ip;
  /** It was another container's, whose traffic may still come. */
  readonly isMoved: boolean;
  /** Another host has it still, and hands it over: nothing was written. */
  readonly isHandedOver: boolean;
}

export type SettleOutcome =
  | { readonly outcome: 'settled' }
  /** Another host hands it over, and keeps it until a container runs with it here. */
  | { readonly outcome: 'waits' }
  /** Another host has the address. */
  | { readonly outcome: 'lost'; readonly to: KnownAddress };

const MOST_TRIES = 64;

/**
 * The addresses of a tenant in the registry. A host that wants one creates or replaces its record by compare and set: no two
 * hosts have the same address, whatever was lost in between.
 */
export class TenantAddresses {
  readonly #components: TenantAddressesComponents;
  readonly #tenant: Tenant;
  readonly #table: AddressTable;
  readonly #watcher: LeaseWatcher;
  readonly #listed = Promise.withResolvers<void>();
  /** Addresses that a claim of this host is about. */
  readonly #claiming = new Set<Ip>();

  constructor(components: TenantAddressesComponents, { tenant, onChange }: TenantAddressesOptions) {
    const { records, clock, log } = components;
    this.#components = components;
    this.#tenant = tenant;
    this.#table = new AddressTable(tenant, {
      onChange,
      onRefused: (name, why) =>
        log.warning(`The record of address ${name} of network ${tenant.name} is refused: ${why}`),
    });
    this.#watcher = new LeaseWatcher(
      { ...components, registry: records, logger: log },
      {
        words: { records: `addresses of ${tenant.name}`, known: 'the addresses' },
        onSnapshot: (snapshot) => {
          this.#table.replaceAll(snapshot, clock.now());
          this.#listed.resolve();
        },
        onBatch: (batch) => this.#table.apply(batch, clock.now()),
      },
    );
  }

  /** Follows the registry until the signal aborts. */
  run(signal: AbortSignal): Promise<never> {
    return this.#watcher.run(signal);
  }

  get state(): WatcherState {
    return this.#watcher.state;
  }

  get isListed(): Promise<void> {
    return this.#listed.promise;
  }

  get(ip: Ip): KnownAddress | undefined {
    return this.#table.get(ip);
  }

  all(): Generator<KnownAddress> {
    return this.#table.all();
  }

  /**
   * Claims an address for this host. Throws WeftError `address-refused` with the reason, and RegistryError without an answer.
   */
  async claim(wish: AddressWish, signal: AbortSignal): Promise<ClaimedAddress> {
    const subnet = wish.family === 4 ? this.#tenant.subnets.v4 : this.#tenant.subnets.v6;
    const pool = this.#table.pool(wish.family);
    if (subnet === undefined || pool === undefined)
      throw this.#refused(`it has no subnet of IPv${wish.family}`, 'create it with --ipv6');
    const { clock, self, hostName } = this.#components;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const plan = planAddress({
        subnet,
        pool,
        host: self().id,
        hostName,
        inDoubt: new Set([...this.#claiming, ...this.#table.doubts(clock.now())]),
        ...(wish.ip !== undefined && { wanted: wish.ip }),
        ...(wish.range !== undefined && { range: wish.range }),
        ...(wish.container !== undefined && { container: wish.container }),
        ...(wish.hostNumber !== undefined && { hostNumber: wish.hostNumber }),
      });
      if (plan.kind === 'refuse') {
        if (await this.#isStale(wish.ip, signal)) continue;
        throw this.#refused(plan.reason, plan.remedy);
      }
      const { ip, previous } = plan;
      if (plan.kind === 'take-over') return { ip, isMoved: true, isHandedOver: true };
      if (wish.ip !== undefined) this.#refuseDoubtful(ip);
      this.#claiming.add(ip);
      try {
        const names = wish.container === undefined ? [] : [wish.container];
        const { mac, keep = false } = previous ?? {};
        const wanted: WantedAddress = { state: 'reserved', names, keep, ...(mac && { mac }) };
        if (await this.#write(ip, wanted, previous, signal))
          return { ip, isMoved: previous !== undefined, isHandedOver: false };
      } finally {
        this.#claiming.delete(ip);
      }
    }
    throw this.#refused('other hosts were faster each time', 'try again');
  }

  /**
   * Makes the record of an address that this host has say what is wanted of it. Writes only what differs. Throws
   * RegistryError without an answer: to be called again then.
   */
  async settle(ip: Ip, wanted: WantedAddress, signal: AbortSignal): Promise<SettleOutcome> {
    for (;;) {
      const known = this.#table.get(ip);
      if (known !== undefined && !this.#mayWrite(known, wanted)) {
        const waits = wanted.state === 'reserved' && isHandedOver(known, this.#components.self().id);
        return waits ? { outcome: 'waits' } : { outcome: 'lost', to: known };
      }
      // What is nobody's needs no record to say so.
      if (known === undefined && wanted.state === 'released') return { outcome: 'settled' };
      if (known !== undefined && this.#says(known, wanted)) return { outcome: 'settled' };
      if (await this.#write(ip, wanted, known, signal)) return { outcome: 'settled' };
      const fault = this.#table.faultOf(ip);
      if (fault !== undefined) throw this.#unreadable(ip, fault);
    }
  }

  /** Gives back an address of a host that is gone. False when its record is no longer as it is known. */
  async free(known: KnownAddress, signal: AbortSignal): Promise<boolean> {
    const { records, clock } = this.#components;
    const { stored } = known;
    const text = formatAddress(freedAddress(known, clock.now()), stored.value);
    const written = await records.replace(stored, text, undefined, signal);
    if (written.outcome === 'written') this.#table.learn(written.record);
    return written.outcome === 'written';
  }

  /** Removes a record, if it is as it is known. */
  async remove({ ip, stored }: KnownAddress, signal: AbortSignal): Promise<void> {
    const { records } = this.#components;
    if (await records.remove(stored, signal)) this.#table.forget(ip);
  }

  /** False when another write came first; what is there is known then. */
  async #write(
    ip: Ip,
    wanted: WantedAddress,
    previous: KnownAddress | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { records, clock, self } = this.#components;
    const { id: host, vtep } = self();
    const isSameUse =
      previous?.host === host && previous.state === 'published' && wanted.state === 'published';
    const to = isSameUse ? previous.to : undefined;
    const record = { ...wanted, ip, host, vtep, ...(to !== undefined && { to }), since: clock.now() };
    const text = formatAddress(record, previous?.stored.value);
    const written =
      previous === undefined
        ? await records.create(addressName(ip), text, undefined, signal)
        : await records.replace(previous.stored, text, undefined, signal);
    if (written.outcome === 'written') {
      this.#table.learn(written.record);
      return true;
    }
    const there = await records.read(addressName(ip), signal);
    if (there === undefined) this.#table.forget(ip);
    else this.#table.learn(there);
    return false;
  }

  /**
   * What another host has in use is not ours to write, unless it is handed over to us and our container runs. What it gave
   * back we may take: an own claim came before.
   */
  #mayWrite(known: KnownAddress, wanted: WantedAddress): boolean {
    const { id } = this.#components.self();
    if (known.host === id) return true;
    if (wanted.state === 'released' || wanted.state === 'kept') return false;
    if (known.state === 'released' || known.state === 'kept') return true;
    return wanted.state === 'published' && isHandedOver(known, id);
  }

  #says(known: KnownAddress, wanted: WantedAddress): boolean {
    const { id, vtep } = this.#components.self();
    if (known.host !== id || known.vtep !== vtep) return false;
    const parts = ({ state, mac, endpoint, container, names, keep }: WantedAddress): string =>
      JSON.stringify([state, mac, endpoint, container, names, keep]);
    return parts(known) === parts(wanted);
  }

  #unreadable(ip: Ip, fault: string): WeftError {
    const message = `the record of ${formatIp(ip)} can't be read: ${fault}`;
    return new WeftError('address-unreadable', message, { remedy: 'remove the record from the registry' });
  }

  /**
   * Another host may have given an address back a moment ago. What was not known of its record is known then; a record that is
   * gone is left to the watch, for it may have been lost.
   */
  async #isStale(ip: Ip | undefined, signal: AbortSignal): Promise<boolean> {
    const known = ip && this.#table.get(ip);
    if (ip === undefined || known === undefined) return false;
    const there = await this.#components.records.read(addressName(ip), signal);
    if (there === undefined || there.revision <= known.stored.revision) return false;
    this.#table.learn(there);
    return true;
  }

  /** Somebody may have the address whose record was lost with the store. */
  #refuseDoubtful(ip: Ip): void {
    if (!this.#table.doubts(this.#components.clock.now()).includes(ip)) return;
    throw this.#refused(
      `the record of ${formatIp(ip)} was lost while it was in use`,
      'its host writes it again; if that host is gone, wait ten minutes',
    );
  }

  #refused(why: string, remedy: string): WeftError {
    const message = `could not get an address of network ${this.#tenant.name}: ${why}`;
    return new WeftError('address-refused', message, { remedy });
  }
}
