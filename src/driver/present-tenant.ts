import { EndKeeper, type EndKeeperComponents } from '#src/driver/end-keeper.ts';
import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import { localEndpoint } from '#src/driver/local-endpoint.ts';
import type { NameServers, NameService } from '#src/driver/names/name-servers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { OwnAddresses } from '#src/driver/own-addresses.ts';
import { Segment, type SegmentComponents } from '#src/driver/segment.ts';
import {
  type AddressWish,
  TenantAddresses,
  type TenantAddressesComponents,
} from '#src/driver/tenant-addresses.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, type Ipv4, isIpv4 } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

export interface PresentTenantComponents
  extends Omit<SegmentComponents, 'lookUp' | 'self'>,
    TenantAddressesComponents {
  readonly book: EndpointBook;
  readonly ends: EndKeeperComponents['ends'];
  /** Answers for the tenant's names on its bridge. */
  readonly names: Pick<NameServers, 'serve'>;
}

/** A service of names that does not answer after so long is a trouble. */
const NAMES_MS = 5_000;

/**
 * A tenant that this host has business with: its addresses as the registry has them, its segment while a container is in it,
 * and what this host's book says that both shall be.
 */
export class PresentTenant {
  readonly tenant: Tenant;
  readonly #components: PresentTenantComponents;
  readonly #addresses: TenantAddresses;
  readonly #self: string;
  /** The records of this host's own addresses. */
  readonly #own: OwnAddresses;
  readonly #names = new NameTable();
  readonly #ends: EndKeeper;
  #segment: Segment | undefined;
  #nameService: NameService | undefined;
  /** By the monotonic clock. */
  #servedSince = 0;
  readonly #life: Lifetime;
  /** When it was last asked for anything, by the monotonic clock. */
  #usedAt: number;
  /**
   * The IPv4 address that was claimed last, until its endpoint is made. Docker asks for a container's IPv6 address next: it
   * makes one endpoint of a network after the other.
   */
  #unpaired: Ipv4 | undefined;

  constructor(components: PresentTenantComponents, tenant: Tenant, signal: AbortSignal) {
    this.tenant = tenant;
    this.#components = components;
    this.#self = components.self().id;
    this.#usedAt = components.clock.monotonic();
    this.#addresses = new TenantAddresses(components, {
      tenant,
      onChange: (ip, now, before) => {
        this.#segment?.addressChanged(ip, before);
        if (now === undefined) this.#names.remove(ip);
        else this.#names.set(now);
        if (this.#own.get(ip) !== undefined) this.#own.settle(ip);
      },
    });
    this.#ends = new EndKeeper(components, { tenant, plug: async (it) => this.#segment?.plug(it) });
    this.#life = new Lifetime(signal);
    this.#own = new OwnAddresses(
      { ...components, addresses: this.#addresses },
      { tenant: tenant.name, self: this.#self, signal: this.#life.signal },
    );
    this.#life.run((ended) => this.#addresses.run(ended));
    this.#life.run((ended) => this.#own.tidyAtInterval(ended));
    this.#own.settleAll();
  }

  get addresses(): TenantAddresses {
    return this.#addresses;
  }

  get segment(): Segment | undefined {
    return this.#segment;
  }

  /** Why it is not as it should be on this host; one clause. */
  get trouble(): string | undefined {
    const cutOff = this.#segment?.silenced.size ?? 0;
    if (cutOff === 0) return this.#namesTrouble;
    return `network ${this.tenant.name}: ${cutOff} containers are cut off, for other hosts have their addresses`;
  }

  /** The bridge is made a moment after the service starts. */
  get #namesTrouble(): string | undefined {
    const { clock } = this.#components;
    return clock.monotonic() - this.#servedSince < NAMES_MS ? undefined : this.#nameService?.trouble;
  }

  /** How long nothing was asked of it, in milliseconds. */
  get idleMs(): number {
    return this.#components.clock.monotonic() - this.#usedAt;
  }

  /** Whether the host has an endpoint, or an address that it must give back or forget. */
  get isNeeded(): boolean {
    return this.#own.isNeeded;
  }

  /** Claims an address, and books it. */
  async claim(wish: AddressWish, signal: AbortSignal): Promise<Ip> {
    this.#usedAt = this.#components.clock.monotonic();
    await orAborted(this.#addresses.isListed, signal);
    // A container that is started again asks for what it has just given back.
    if (wish.ip !== undefined && this.#own.get(wish.ip)?.isReleasing)
      await orAborted(this.#own.settled(wish.ip), signal);
    const hostNumber = wish.family === 6 ? this.#hostNumber() : undefined;
    const counterpart = hostNumber !== undefined && { hostNumber };
    const { ip, isMoved, isHandedOver } = await this.#addresses.claim({ ...wish, ...counterpart }, signal);
    // No record says so yet.
    if (isHandedOver && this.#own.get(ip)?.isReleasing === false) throw this.#takenTwice(ip);
    this.#unpaired = isIpv4(ip) ? ip : undefined;
    await this.#own.set(ip, { since: this.#components.clock.now(), isMoved, isReleasing: false });
    return ip;
  }

  /**
   * Makes sure that an address is this host's, as it is when Docker asked for it here and the book knows of that. Throws as
   * {@link claim} does.
   */
  async hold(ip: Ip, signal: AbortSignal): Promise<void> {
    if (this.#own.get(ip)?.isReleasing === false) return;
    await orAborted(this.#addresses.isListed, signal);
    const known = this.#addresses.get(ip);
    const isOurs = known?.host === this.#self && known.state !== 'released' && known.state !== 'kept';
    if (!isOurs || this.#own.get(ip) !== undefined)
      await this.claim({ family: isIpv4(ip) ? 4 : 6, ip }, signal);
    else await this.#own.set(ip, { since: this.#components.clock.now(), isMoved: false, isReleasing: false });
  }

  /** Gives an address back, as soon as the registry answers. Does nothing for one that is not booked. */
  async release(ip: Ip): Promise<void> {
    if (this.#unpaired === ip) this.#unpaired = undefined;
    await this.#own.release(ip);
  }

  /** Makes the endpoint's port as the book has it, and the segment with the first one. */
  async plug(id: string): Promise<void> {
    for (let wait = this.#waitForDevices(); wait !== undefined; wait = this.#waitForDevices()) await wait;
    const booked = this.#components.book.state.endpoints[id];
    if (booked === undefined) return;
    this.#usedAt = this.#components.clock.monotonic();
    const endpoint = localEndpoint(id, booked);
    if (endpoint.addresses.some((ip) => ip === this.#unpaired)) this.#unpaired = undefined;
    await this.#openSegment()
      .plug(endpoint)
      .finally(() => this.#ends.look(id));
    for (const ip of endpoint.addresses) this.#own.settle(ip);
  }

  /** An endpoint's port was removed, or made again. */
  portChanged(id: string): void {
    this.#ends.look(id);
  }

  /** Resolves when the devices of its containers have been looked at. */
  endsLookedAt(): Promise<void> {
    return this.#ends.idle();
  }

  async unplug(id: string): Promise<void> {
    await this.#segment?.unplug(id);
    this.#usedAt = this.#components.clock.monotonic();
  }

  /** Resolves when the record of an address has been written, or could not be. */
  async settled(ip: Ip): Promise<void> {
    await this.#own.settled(ip);
  }

  /** Docker's endpoints on this host are in the book now. */
  compared(): void {
    this.#own.compared();
  }

  /** The host has another place on the underlay. */
  moved(): void {
    this.#segment?.moved();
    this.#own.settleAll();
  }

  /** Withdraws the segment while no container is in it. */
  async closeSegment(): Promise<void> {
    const segment = this.#segment;
    if (segment === undefined || !segment.endpoints[Symbol.iterator]().next().done) return;
    this.#segment = undefined;
    // Before anything is awaited: another segment may be opened meanwhile, with the same devices.
    const closing = segment.close();
    await this.#stopNames();
    await closing;
  }

  /** Ends what runs. What is in the kernel stays. */
  async stop(): Promise<void> {
    this.#segment?.stop();
    await this.#life.stop();
    await this.#ends.idle();
    await this.#stopNames();
    await this.#own.ended();
  }

  #hostNumber(): number | undefined {
    const { v4 } = this.tenant.subnets;
    return v4 && this.#unpaired && this.#unpaired - v4.prefix.address;
  }

  #waitForDevices(): Promise<void> | undefined {
    return this.#segment === undefined ? this.#components.devices.ready() : undefined;
  }

  #openSegment(): Segment {
    if (this.#segment !== undefined) return this.#segment;
    const lookUp = (ip: Ip) => this.#addresses.get(ip);
    const segment = new Segment({ ...this.#components, lookUp, self: this.#self }, this.tenant);
    this.#segment = segment;
    for (const { ip } of this.#addresses.all()) segment.addressChanged(ip, undefined);
    this.#servedSince = this.#components.clock.monotonic();
    this.#nameService = this.#components.names.serve(this.tenant, this.#names);
    return segment;
  }

  async #stopNames(): Promise<void> {
    const service = this.#nameService;
    this.#nameService = undefined;
    await service?.stop();
  }

  #takenTwice(ip: Ip): WeftError {
    const message = `could not get an address of network ${this.tenant.name}: another container of this host takes over ${formatIp(ip)}`;
    return new WeftError('address-refused', message, { remedy: 'ask for another address, or for none' });
  }
}
