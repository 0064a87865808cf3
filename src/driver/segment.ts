import type { KnownAddress } from '#src/driver/address-table.ts';
import type { SegmentDevices } from '#src/driver/segment-devices.ts';
import { SegmentEndpoints } from '#src/driver/segment-endpoints.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Clock } from '#src/sys/clock.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';
import { isHandedOver } from '#src/tenant/address-plan.ts';
import {
  localEntry,
  portName,
  portObjects,
  remoteEntries,
  type SegmentPlace,
  segmentObjects,
} from '#src/tenant/segment-objects.ts';
import type { SegmentWiring } from '#src/tenant/segment-wiring.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

/** Lets the frames of a container pass by its port, and no others. */
export interface PortRules {
  setPort(port: string, owner: { readonly mac: Mac; readonly addresses: readonly Ip[] }): Promise<void>;
  removePort(port: string): Promise<void>;
}

export interface SegmentComponents {
  /** Of all that is in the tenants' namespace. */
  readonly owner: Owner;
  readonly devices: SegmentDevices;
  readonly rules: PortRules;
  readonly clock: Clock;
  readonly log: Logger;
  /** This host's place on the underlay, as it is now. */
  readonly place: () => SegmentPlace;
  /** What is known of an address. */
  readonly lookUp: (ip: Ip) => KnownAddress | undefined;
  /** The identity of this host. */
  readonly self: string;
}

/** A container's endpoint on this host. */
export interface LocalEndpoint {
  readonly id: string;
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  /** The container's network namespace, once it has one. */
  readonly sandbox?: string | undefined;
  /** What its device is called there, once Docker has named it. */
  readonly device?: string | undefined;
  /** Frames for it are given to it: its container runs. */
  readonly isActive: boolean;
  /** The container ended and Docker has not said so: there is no port. */
  readonly isGone?: boolean;
}

/** For so long after a container has moved away, frames for it that still come here are passed on. */
const FORWARD_MS = 30_000;
/** Entries of a container whose record was lost stay for so long: its host writes the record again. */
const LOST_MS = 30_000;

/**
 * A tenant's layer-2 segment on this host: bridge, VXLAN device, ports of containers, and entries for the containers of
 * other hosts. All of it is wanted state. This class says what is wanted: by endpoint for ports, by MAC for entries.
 */
export class Segment {
  readonly #components: SegmentComponents;
  readonly #tenant: Tenant;
  readonly #wiring: SegmentWiring;
  readonly #endpoints = new SegmentEndpoints();
  /** Endpoints whose address another host has: their ports are down. */
  readonly #silenced = new Set<string>();
  /** By MAC: the addresses whose records name it. */
  readonly #addressesOf = new Map<Mac, Set<Ip>>();
  readonly #macOf = new Map<Ip, Mac>();
  /** Records that went without a release: their stores may have been emptied, and come back. */
  readonly #lost = new Map<Ip, { readonly record: KnownAddress; readonly timer: Timer }>();
  /** Addresses that were here, and that another host has claimed: it may not use them yet. */
  readonly #departing = new Set<Ip>();
  #forwarding: Timer | undefined;

  constructor(components: SegmentComponents, tenant: Tenant) {
    this.#components = components;
    this.#tenant = tenant;
    this.#wiring = components.devices.open(tenant.vni);
    this.#setOwn();
  }

  get endpoints(): Iterable<LocalEndpoint> {
    return this.#endpoints.all();
  }

  /** Endpoints that are cut off because another host has their address. */
  get silenced(): ReadonlySet<string> {
    return this.#silenced;
  }

  /** This host has another place on the underlay. */
  moved(): void {
    this.#setOwn();
    for (const endpoint of this.#endpoints.all()) this.#setPort(endpoint);
  }

  /** Makes an endpoint's port, or changes it. Throws WeftError `port` with the kernel's reason. */
  async plug(endpoint: LocalEndpoint): Promise<void> {
    const { owner, rules } = this.#components;
    const port = portName(endpoint.id);
    this.#endpoints.set(endpoint);
    await rules.setPort(port, endpoint);
    // It may have been unplugged meanwhile.
    if (this.#endpoints.get(endpoint.id) !== endpoint) return;
    this.#judge(endpoint);
    this.#setEntries(endpoint.mac);
    await owner.settled();
    const failure = owner.status.failing.find(({ key }) => key === `link ${port}`);
    if (failure === undefined) return;
    throw new WeftError(
      'port',
      `could not make port ${port} of network ${this.#tenant.name}: ${failure.reason}`,
      { remedy: 'repeat the command; "weft status" shows what else the kernel refuses' },
    );
  }

  /** Removes an endpoint's port. Does nothing when there is none. */
  async unplug(id: string): Promise<void> {
    const { owner, rules } = this.#components;
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) return;
    this.#endpoints.delete(id);
    this.#silenced.delete(id);
    owner.set(this.#subject(`port ${id}`), []);
    this.#setEntries(endpoint.mac);
    await owner.settled();
    if (!this.#endpoints.has(id)) await rules.removePort(portName(id));
  }

  /** The record of an address is another one, or gone. `former`: the one that it had, where it had one. */
  addressChanged(ip: Ip, former: KnownAddress | undefined): void {
    const { lookUp } = this.#components;
    const before = this.#macOf.get(ip);
    if (former?.state === 'published' && lookUp(ip) === undefined) this.#keepLost(former);
    const record = this.#lookUp(ip);
    const now = record?.mac;
    this.#followDeparture(ip, record, former);
    if (before !== undefined && before !== now) {
      this.#addressesOf.get(before)?.delete(ip);
      if (this.#addressesOf.get(before)?.size === 0) this.#addressesOf.delete(before);
      this.#macOf.delete(ip);
    }
    if (now !== undefined && before !== now) {
      this.#macOf.set(ip, now);
      const addresses = this.#addressesOf.get(now);
      if (addresses === undefined) this.#addressesOf.set(now, new Set([ip]));
      else addresses.add(ip);
    }
    for (const endpoint of this.#endpoints.with(ip)) this.#judge(endpoint);
    for (const mac of new Set([before, now])) if (mac !== undefined) this.#setEntries(mac);
  }

  /** Ends what runs. What is in the kernel stays. */
  stop(): void {
    this.#forwarding?.stop();
    for (const { timer } of this.#lost.values()) timer.stop();
  }

  /** Withdraws all that is wanted, and waits until it is gone. */
  async close(): Promise<void> {
    const { owner, rules, devices } = this.#components;
    this.stop();
    const ids = [...this.#endpoints.ids()];
    for (const id of ids) owner.set(this.#subject(`port ${id}`), []);
    this.#endpoints.clear();
    for (const mac of this.#addressesOf.keys()) owner.set(this.#subject(mac), []);
    owner.set(this.#subject('own'), []);
    await owner.settled();
    for (const id of ids) await rules.removePort(portName(id));
    devices.close(this.#tenant.vni);
  }

  #keepLost(record: KnownAddress): void {
    const { ip } = record;
    this.#lost.get(ip)?.timer.stop();
    const timer = startTimer(this.#components.clock, LOST_MS, () => {
      this.#lost.delete(ip);
      this.addressChanged(ip, undefined);
    });
    this.#lost.set(ip, { record, timer });
  }

  #lookUp(ip: Ip): KnownAddress | undefined {
    const record = this.#components.lookUp(ip);
    const lost = this.#lost.get(ip);
    if (record === undefined || lost === undefined) return record ?? lost?.record;
    lost.timer.stop();
    this.#lost.delete(ip);
    return record;
  }

  /** A host claims an address first, and uses it when its container runs. From then on frames are passed on. */
  #followDeparture(ip: Ip, record: KnownAddress | undefined, former: KnownAddress | undefined): void {
    const { self } = this.#components;
    if (record === undefined || record.host === self) {
      this.#departing.delete(ip);
      return;
    }
    if (former?.host === self) this.#departing.add(ip);
    if (record.state === 'published' && this.#departing.delete(ip)) this.#forward();
  }

  /**
   * An endpoint whose address another host has in use is cut off: that host wrote later. One whose address the other host
   * hands over is not.
   */
  #judge(endpoint: LocalEndpoint): void {
    const { log } = this.#components;
    const taken = this.#takenElsewhere(endpoint);
    if (taken === undefined) {
      this.#silenced.delete(endpoint.id);
    } else if (!this.#silenced.has(endpoint.id)) {
      this.#silenced.add(endpoint.id);
      this.#forward();
      log.warning(
        `Address ${formatIp(taken.ip)} of network ${this.#tenant.name} is now at host ${taken.host}: the container that had it here is cut off`,
      );
    }
    this.#setPort(endpoint);
  }

  #takenElsewhere({ addresses }: LocalEndpoint): KnownAddress | undefined {
    const { lookUp, self } = this.#components;
    return addresses
      .flatMap((ip) => lookUp(ip) ?? [])
      .find((it) => it.state === 'published' && it.host !== self && !isHandedOver(it, self));
  }

  /** Frames for the endpoint's MAC are given to it, also before others hear that its address was handed over to it. */
  #isInUse(endpoint: LocalEndpoint): boolean {
    return endpoint.isActive && !endpoint.isGone && this.#takenElsewhere(endpoint) === undefined;
  }

  /** Other hosts hear later that a container has moved. */
  #forward(): void {
    this.#forwarding?.stop();
    this.#forwarding = startTimer(this.#components.clock, FORWARD_MS, () => {
      this.#forwarding = undefined;
      this.#setOwn();
    });
    this.#setOwn();
  }

  #setOwn(): void {
    const { owner, place, devices } = this.#components;
    const forwards = this.#forwarding !== undefined;
    devices.setForwards(this.#tenant.vni, forwards);
    owner.set(this.#subject('own'), segmentObjects(this.#tenant, this.#wiring, place(), { forwards }));
  }

  #setPort(endpoint: LocalEndpoint): void {
    const { owner, place } = this.#components;
    const { id, mac, sandbox, device, isGone } = endpoint;
    const locked = this.#isInUse(endpoint);
    const up = !this.#silenced.has(id);
    const request = { endpoint: id, mac, sandbox, device, up, locked };
    owner.set(
      this.#subject(`port ${id}`),
      isGone ? [] : portObjects(this.#tenant, this.#wiring, place(), request),
    );
  }

  #setEntries(mac: Mac): void {
    const { owner, self } = this.#components;
    const local = this.#endpoints.with(mac).find((endpoint) => this.#isInUse(endpoint));
    if (local !== undefined) {
      owner.set(this.#subject(mac), [localEntry(this.#wiring, mac, local.id)]);
      return;
    }
    const records = [...(this.#addressesOf.get(mac) ?? [])].flatMap((ip) => this.#lookUp(ip) ?? []);
    const [first, ...others] = records;
    if (first === undefined) {
      owner.set(this.#subject(mac), []);
      return;
    }
    const holder = others.reduce((a, b) => (b.stored.revision > a.stored.revision ? b : a), first);
    owner.set(this.#subject(mac), remoteEntries(this.#tenant, this.#wiring, mac, records, holder, self));
  }

  #subject(part: string): string {
    return `${this.#tenant.name} ${part}`;
  }
}
