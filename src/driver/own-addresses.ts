import type { KnownAddress } from '#src/driver/address-table.ts';
import type { BookedAddress, BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import type { TenantAddresses, WantedAddress } from '#src/driver/tenant-addresses.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { parseMac } from '#src/lib/mac.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { isHeld } from '#src/tenant/held-address.ts';

export interface OwnAddressesComponents {
  readonly book: EndpointBook;
  readonly addresses: TenantAddresses;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface OwnAddressesOptions {
  readonly tenant: string;
  /** The identity of this host. */
  readonly self: string;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/** A claimed address without an endpoint is given back after so long: the answer to Docker was lost. */
const UNUSED_MS = 60_000;
/** A released address is forgotten after so long: until then it is chosen last. */
const FORGET_MS = 600_000;
const LOOK_MS = 10_000;
const PAUSES = { baseMs: 500, capMs: 5_000 };

/**
 * This host's own addresses of a tenant: their records follow the book, also after an outage and after the store lost them.
 */
export class OwnAddresses {
  readonly #components: OwnAddressesComponents;
  readonly #options: OwnAddressesOptions;
  /** Addresses whose records are being settled. */
  readonly #settling = new Map<Ip, Promise<void>>();
  /** Those that have to be settled once more. */
  readonly #again = new Set<Ip>();
  /** Booked addresses without an endpoint, by the monotonic clock. */
  readonly #unusedSince = new Map<Ip, number>();
  /** Docker's endpoints have been compared with the book: what is not in it is nobody's. */
  #isCompared = false;

  constructor(components: OwnAddressesComponents, options: OwnAddressesOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Whether the host has an address, or must give one back or forget it. */
  get isNeeded(): boolean {
    if (Object.keys(this.#all).length > 0) return true;
    const { addresses } = this.#components;
    return addresses.all().some(({ host, state }) => host === this.#options.self && state !== 'kept');
  }

  /** Gives an address back, as soon as the registry answers. Does nothing for one that is not booked. */
  async release(ip: Ip): Promise<void> {
    const booked = this.get(ip);
    if (booked === undefined) return;
    await this.set(ip, { ...booked, isReleasing: true }).catch(() => {});
    this.settle(ip);
  }

  /** Docker's endpoints on this host are in the book now. */
  compared(): void {
    this.#isCompared = true;
  }

  /** Gives back what nobody uses, and forgets what was given back long ago, until the signal aborts. */
  async tidyAtInterval(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components;
    for (;;) {
      await untilBeat(clock, LOOK_MS, signal);
      await this.#tidy(signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.verbose(
          1,
          `could not tidy the addresses of network ${this.#options.tenant}: ${messageOf(error)}`,
        );
      });
    }
  }

  /** What is booked of an address. */
  get(ip: Ip): BookedAddress | undefined {
    return this.#all[formatIp(ip)];
  }

  /** Books an address, or `undefined` to forget it. Throws WeftError `docker-state` when that can't be written. */
  set(ip: Ip, booked: BookedAddress | undefined): Promise<void> {
    return this.#components.book.setAddress(this.#options.tenant, formatIp(ip), booked);
  }

  /** Makes the record say what the book says, again and again until the registry has it. */
  settle(ip: Ip): void {
    if (this.#settling.has(ip)) {
      this.#again.add(ip);
      return;
    }
    const running = this.#settleUntilDone(ip).finally(() => {
      this.#settling.delete(ip);
      if (this.#again.delete(ip) && !this.#options.signal.aborted) this.settle(ip);
    });
    this.#settling.set(ip, running);
  }

  /** All that is booked has to be settled: this host is another, or begins. */
  settleAll(): void {
    for (const name of Object.keys(this.#all)) {
      const ip = parseIp(name);
      if (ip !== undefined) this.settle(ip);
    }
  }

  /** Resolves when the record of an address has been written, or could not be. */
  async settled(ip: Ip): Promise<void> {
    await this.#settling.get(ip);
  }

  /** Resolves when nothing is under way any more. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#settling.values());
  }

  get #all(): Readonly<Record<string, BookedAddress>> {
    return this.#components.book.state.addresses[this.#options.tenant] ?? {};
  }

  async #settleUntilDone(ip: Ip): Promise<void> {
    const { clock, log } = this.#components;
    const { signal } = this.#options;
    const backoff = new Backoff(this.#components, PAUSES);
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      this.#again.delete(ip);
      try {
        await orAborted(this.#components.addresses.isListed, signal);
        await this.#settleOnce(ip, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (isFirst)
          log.warning(
            `Could not write the record of ${formatIp(ip)} of network ${this.#options.tenant}: ${messageOf(error)}; trying again`,
          );
        await clock.sleep(backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #settleOnce(ip: Ip, signal: AbortSignal): Promise<void> {
    const booked = this.get(ip);
    if (booked === undefined) return;
    const { outcome } = await this.#components.addresses.settle(ip, this.#wantedOf(ip, booked), signal);
    const isDone = booked.isReleasing && this.get(ip) === booked;
    if (isDone || (outcome === 'lost' && this.#endpointOf(ip) === undefined))
      await this.set(ip, undefined).catch(() => {});
  }

  #wantedOf(ip: Ip, { isReleasing }: BookedAddress): WantedAddress {
    const known = this.#components.addresses.get(ip);
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
    return this.#components.book.endpointAt(this.#options.tenant, formatIp(ip));
  }

  /** Gives back what was claimed and never used, and forgets what was given back long ago. */
  async #tidy(signal: AbortSignal): Promise<void> {
    for (const ip of this.#findUnused()) await this.release(ip);
    const now = this.#components.clock.now();
    for (const known of [...this.#components.addresses.all()]) {
      if (known.host !== this.#options.self || this.get(known.ip) !== undefined) continue;
      const age = now - known.since;
      if (known.state === 'released' && age > FORGET_MS)
        await this.#components.addresses.remove(known, signal);
      if (isHeld(known) && this.#isCompared && age > UNUSED_MS) await this.#releaseStray(known, signal);
    }
  }

  /** By the monotonic clock, and only as far as this process has looked: the host's clock may jump. */
  #findUnused(): Ip[] {
    const now = this.#components.clock.monotonic();
    const unused = Object.entries(this.#all).flatMap(([name, { isReleasing }]) => {
      const ip = isReleasing ? undefined : parseIp(name);
      return ip === undefined || this.#endpointOf(ip) !== undefined ? [] : [ip];
    });
    const all = new Set(unused);
    for (const ip of this.#unusedSince.keys()) if (!all.has(ip)) this.#unusedSince.delete(ip);
    for (const ip of unused) if (!this.#unusedSince.has(ip)) this.#unusedSince.set(ip, now);
    return unused.filter((ip) => now - (this.#unusedSince.get(ip) ?? now) >= UNUSED_MS);
  }

  /** A record of this host that neither the book nor Docker knows of. */
  async #releaseStray({ ip, state, keep, mac, names }: KnownAddress, signal: AbortSignal): Promise<void> {
    const { log } = this.#components;
    log.info(
      `Released ${formatIp(ip)} of network ${this.#options.tenant}: it was ${state} here, and no container has it`,
    );
    const rest = { names, keep, ...(mac && { mac }) };
    await this.#components.addresses.settle(ip, { state: keep ? 'kept' : 'released', ...rest }, signal);
  }
}
