import type { KnownAddress } from '#src/driver/address-table.ts';
import { EndKeeper, type EndKeeperComponents } from '#src/driver/end-keeper.ts';
import type { BookedAddress, BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import { without } from '#src/driver/endpoint-book.ts';
import { localEndpoint } from '#src/driver/local-endpoint.ts';
import type { NameServers, NameService } from '#src/driver/names/name-servers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { Segment, type SegmentComponents } from '#src/driver/segment.ts';
import {
  type AddressWish,
  TenantAddresses,
  type TenantAddressesComponents,
  type WantedAddress,
} from '#src/driver/tenant-addresses.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, type Ipv4, isIpv4, parseIp } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { parseMac } from '#src/lib/mac.ts';
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

/** A claimed address without an endpoint is given back after so long: the answer to Docker was lost. */
const UNUSED_MS = 60_000;
/** A released address is forgotten after so long: until then it is chosen last. */
const FORGET_MS = 600_000;
const LOOK_MS = 10_000;
const PAUSES = { baseMs: 500, capMs: 5_000 };

/**
 * A tenant that this host has business with: its addresses as the registry has them, its segment while a container is in it,
 * and what this host's book says that both shall be. The records of own addresses follow the book, also after an outage and
 * after the store lost them.
 */
export class PresentTenant {
  readonly tenant: Tenant;
  readonly #components: PresentTenantComponents;
  readonly #addresses: TenantAddresses;
  readonly #self: string;
  readonly #names = new NameTable();
  readonly #ends: EndKeeper;
  #segment: Segment | undefined;
  #nameService: NameService | undefined;
  readonly #life: Lifetime;
  /** Addresses whose records are being settled. */
  readonly #settling = new Map<Ip, Promise<void>>();
  /** Those that have to be settled once more. */
  readonly #again = new Set<Ip>();
  /** When it was last asked for anything, by the monotonic clock. */
  #usedAt: number;
  /** Docker's endpoints have been compared with the book: what is not in it is nobody's. */
  #isCompared = false;
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
        if (this.#booked(ip) !== undefined) this.#settle(ip);
      },
    });
    this.#ends = new EndKeeper(components, { tenant, plug: async (it) => this.#segment?.plug(it) });
    this.#life = new Lifetime(signal);
    this.#life.run((ended) => this.#addresses.run(ended));
    this.#life.run((ended) => this.#tidyAtInterval(ended));
    for (const name of Object.keys(this.#bookedAddresses)) this.#settleByName(name);
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
    if (cutOff === 0) return this.#nameService?.trouble;
    return `network ${this.tenant.name}: ${cutOff} containers are cut off, for other hosts have their addresses`;
  }

  /** How long nothing was asked of it, in milliseconds. */
  get idleMs(): number {
    return this.#components.clock.monotonic() - this.#usedAt;
  }

  /** Whether the host has an endpoint, or an address that it must give back or forget. */
  get isNeeded(): boolean {
    if (Object.keys(this.#bookedAddresses).length > 0) return true;
    return this.#addresses.all().some(({ host, state }) => host === this.#self && state !== 'kept');
  }

  /** Claims an address, and books it. */
  async claim(wish: AddressWish, signal: AbortSignal): Promise<Ip> {
    this.#usedAt = this.#components.clock.monotonic();
    await orAborted(this.#addresses.isListed, signal);
    const hostNumber = wish.family === 6 ? this.#hostNumber() : undefined;
    const counterpart = hostNumber !== undefined && { hostNumber };
    const { ip, isMoved, isHandedOver } = await this.#addresses.claim({ ...wish, ...counterpart }, signal);
    // No record says so yet.
    if (isHandedOver && this.#booked(ip)?.isReleasing === false) throw this.#takenTwice(ip);
    this.#unpaired = isIpv4(ip) ? ip : undefined;
    await this.#bookAddress(ip, { since: this.#components.clock.now(), isMoved, isReleasing: false });
    return ip;
  }

  /** Gives an address back, as soon as the registry answers. Does nothing for one that is not booked. */
  async release(ip: Ip): Promise<void> {
    const booked = this.#booked(ip);
    if (booked === undefined) return;
    if (this.#unpaired === ip) this.#unpaired = undefined;
    await this.#bookAddress(ip, { ...booked, isReleasing: true });
    this.#settle(ip);
  }

  /** Makes the endpoint's port as the book has it, and the segment with the first one. */
  async plug(id: string): Promise<void> {
    const booked = this.#components.book.state.endpoints[id];
    if (booked === undefined) return;
    this.#usedAt = this.#components.clock.monotonic();
    const endpoint = localEndpoint(id, booked);
    if (endpoint.addresses.some((ip) => ip === this.#unpaired)) this.#unpaired = undefined;
    await this.#openSegment()
      .plug(endpoint)
      .finally(() => this.#ends.look(id));
    for (const ip of endpoint.addresses) this.#settle(ip);
  }

  /** An endpoint's port was removed, or made again. */
  portChanged(id: string): void {
    this.#ends.look(id);
  }

  async unplug(id: string): Promise<void> {
    await this.#segment?.unplug(id);
    this.#usedAt = this.#components.clock.monotonic();
  }

  /** Resolves when the record of an address has been written, or could not be. */
  async settled(ip: Ip): Promise<void> {
    await this.#settling.get(ip);
  }

  /** Docker's endpoints on this host are in the book now. */
  compared(): void {
    this.#isCompared = true;
  }

  /** The host has another place on the underlay. */
  moved(): void {
    this.#segment?.moved();
    for (const name of Object.keys(this.#bookedAddresses)) this.#settleByName(name);
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
    await Promise.allSettled(this.#settling.values());
  }

  #hostNumber(): number | undefined {
    const { v4 } = this.tenant.subnets;
    return v4 && this.#unpaired && this.#unpaired - v4.prefix.address;
  }

  #openSegment(): Segment {
    if (this.#segment !== undefined) return this.#segment;
    const lookUp = (ip: Ip) => this.#addresses.get(ip);
    const segment = new Segment({ ...this.#components, lookUp, self: this.#self }, this.tenant);
    this.#segment = segment;
    for (const { ip } of this.#addresses.all()) segment.addressChanged(ip, undefined);
    this.#nameService = this.#components.names.serve(this.tenant, this.#names);
    return segment;
  }

  async #stopNames(): Promise<void> {
    const service = this.#nameService;
    this.#nameService = undefined;
    await service?.stop();
  }

  get #bookedAddresses(): Readonly<Record<string, BookedAddress>> {
    return this.#components.book.state.addresses[this.tenant.name] ?? {};
  }

  #booked(ip: Ip): BookedAddress | undefined {
    return this.#bookedAddresses[formatIp(ip)];
  }

  #bookAddress(ip: Ip, booked: BookedAddress | undefined): Promise<void> {
    const { name } = this.tenant;
    const key = formatIp(ip);
    return this.#components.book.change((state) => {
      const others = without(state.addresses[name] ?? {}, key);
      const own = booked === undefined ? others : { ...others, [key]: booked };
      return { ...state, addresses: { ...state.addresses, [name]: own } };
    });
  }

  #settleByName(name: string): void {
    const ip = parseIp(name);
    if (ip !== undefined) this.#settle(ip);
  }

  #takenTwice(ip: Ip): WeftError {
    const message = `could not get an address of network ${this.tenant.name}: another container of this host takes over ${formatIp(ip)}`;
    return new WeftError('address-refused', message, { remedy: 'ask for another address, or for none' });
  }

  /** Makes the record say what the book says, again and again until the registry has it. */
  #settle(ip: Ip): void {
    if (this.#settling.has(ip)) {
      this.#again.add(ip);
      return;
    }
    const running = this.#settleUntilDone(ip).finally(() => {
      this.#settling.delete(ip);
      if (this.#again.delete(ip) && !this.#life.signal.aborted) this.#settle(ip);
    });
    this.#settling.set(ip, running);
  }

  async #settleUntilDone(ip: Ip): Promise<void> {
    const { clock, log } = this.#components;
    const { signal } = this.#life;
    const backoff = new Backoff(this.#components, PAUSES);
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      this.#again.delete(ip);
      try {
        await orAborted(this.#addresses.isListed, signal);
        await this.#settleOnce(ip, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (isFirst)
          log.warning(
            `Could not write the record of ${formatIp(ip)} of network ${this.tenant.name}: ${messageOf(error)}; trying again`,
          );
        await clock.sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #settleOnce(ip: Ip, signal: AbortSignal): Promise<void> {
    const booked = this.#booked(ip);
    if (booked === undefined) return;
    const { outcome } = await this.#addresses.settle(ip, this.#wantedOf(ip, booked), signal);
    const isDone = booked.isReleasing && this.#booked(ip) === booked;
    if (isDone || (outcome === 'lost' && this.#endpointOf(ip) === undefined))
      await this.#bookAddress(ip, undefined);
  }

  #wantedOf(ip: Ip, { isReleasing }: BookedAddress): WantedAddress {
    const known = this.#addresses.get(ip);
    const { keep = false, mac, names = [] } = known ?? {};
    const rest = { names, keep, ...(mac && { mac }) };
    if (isReleasing) return { state: keep ? 'kept' : 'released', ...rest };
    const [id, endpoint] = this.#endpointOf(ip) ?? [];
    if (id === undefined || endpoint === undefined) return { state: 'reserved', ...rest };
    const own = parseMac(endpoint.mac);
    return {
      state: endpoint.isActive ? 'published' : 'reserved',
      names: endpoint.names.length > 0 ? endpoint.names : names,
      keep,
      endpoint: id,
      ...(own && { mac: own }),
      ...(endpoint.container !== undefined && { container: endpoint.container }),
    };
  }

  #endpointOf(ip: Ip): [string, BookedEndpoint] | undefined {
    const text = formatIp(ip);
    return Object.entries(this.#components.book.state.endpoints).find(
      ([, { tenant, addresses }]) => tenant === this.tenant.name && addresses.includes(text),
    );
  }

  async #tidyAtInterval(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components;
    for (;;) {
      await clock.sleep(LOOK_MS, signal);
      await this.#tidy(signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.verbose(1, `could not tidy the addresses of network ${this.tenant.name}: ${messageOf(error)}`);
      });
    }
  }

  /** Gives back what was claimed and never used, and forgets what was given back long ago. */
  async #tidy(signal: AbortSignal): Promise<void> {
    const now = this.#components.clock.now();
    for (const [name, { since, isReleasing }] of Object.entries(this.#bookedAddresses)) {
      const ip = parseIp(name);
      if (ip === undefined || isReleasing || now - since < UNUSED_MS) continue;
      if (this.#endpointOf(ip) === undefined) await this.release(ip);
    }
    for (const known of [...this.#addresses.all()]) {
      if (known.host !== this.#self || this.#booked(known.ip) !== undefined) continue;
      const age = now - known.since;
      if (known.state === 'released' && age > FORGET_MS) await this.#addresses.remove(known, signal);
      const isStray = known.state === 'reserved' || known.state === 'published';
      if (isStray && this.#isCompared && age > UNUSED_MS) await this.#releaseStray(known, signal);
    }
  }

  /** A record of this host that neither the book nor Docker knows of. */
  async #releaseStray({ ip, state, keep, mac, names }: KnownAddress, signal: AbortSignal): Promise<void> {
    const { log } = this.#components;
    log.info(
      `Released ${formatIp(ip)} of network ${this.tenant.name}: it was ${state} here, and no container has it`,
    );
    const rest = { names, keep, ...(mac && { mac }) };
    await this.#addresses.settle(ip, { state: keep ? 'kept' : 'released', ...rest }, signal);
  }
}
