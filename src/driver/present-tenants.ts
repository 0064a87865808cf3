import { without } from '#src/driver/book-state.ts';
import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import { PresentTenant, type PresentTenantComponents } from '#src/driver/present-tenant.ts';
import type { TenantDirectory } from '#src/driver/tenant-directory.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { untilBeat } from '#src/sys/beat.ts';
import { isPort } from '#src/tenant/segment-objects.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { formatTenant, parseTenant } from '#src/tenant/tenant-codec.ts';
import { tenantDifferences } from '#src/tenant/tenant-differences.ts';

export interface PresentTenantsComponents extends Omit<PresentTenantComponents, 'records'> {
  readonly folders: RecordFolders;
  readonly directory: TenantDirectory;
}

/** Devices of a tenant without containers stay for so long: making them again costs more than keeping them. */
const LINGER_MS = 60_000;
const LOOK_MS = 10_000;

/** The tenants that this host has business with, each from its first use until nothing of it is needed here. */
export class PresentTenants {
  readonly #components: PresentTenantsComponents;
  readonly #present = new Map<string, PresentTenant>();
  /** Openings and closings. */
  readonly #queue = new InOrder();
  readonly #signal: AbortSignal;
  readonly #compared = Promise.withResolvers<void>();
  #isCompared = false;

  constructor(components: PresentTenantsComponents, signal: AbortSignal) {
    this.#components = components;
    this.#signal = signal;
  }

  get(name: string): PresentTenant | undefined {
    return this.#present.get(name);
  }

  all(): Iterable<PresentTenant> {
    return this.#present.values();
  }

  /** What a tenant is, by the registry or by what this host last knew of it. */
  tenant(name: string): Tenant | undefined {
    return this.#components.directory.get(name) ?? bookedTenant(this.#components.book, name);
  }

  /** Throws WeftError `no-such-network` for a tenant that is not known. */
  use(name: string): PresentTenant {
    const present = this.#present.get(name);
    if (present !== undefined && !this.#isReplaced(present)) return present;
    if (present !== undefined) this.#close(present);
    const tenant = this.tenant(name);
    if (tenant === undefined) {
      throw new WeftError('no-such-network', `there is no network ${name}`, {
        remedy: `create it with "weft network create ${name}"`,
      });
    }
    this.#signal.throwIfAborted();
    const records = this.#components.folders.folder(`tenants/addresses/${name}`);
    const opened = new PresentTenant({ ...this.#components, records }, tenant, this.#signal);
    if (this.#isCompared) opened.compared();
    this.#present.set(name, opened);
    return opened;
  }

  /** Addresses that are booked have to be settled, also of tenants that were not known at the start. */
  openBooked(): void {
    const { book, directory } = this.#components;
    for (const name of Object.keys(book.state.addresses)) {
      if (this.#present.has(name) || this.#signal.aborted) continue;
      if (this.tenant(name) !== undefined) this.use(name);
      else if (directory.isRemoved(name) && !book.hasEndpoints(name))
        void book.record((state) => ({ ...state, addresses: without(state.addresses, name) }));
    }
  }

  /** What this process's predecessor had. */
  async resume(): Promise<void> {
    const { book, log } = this.#components;
    const { addresses, endpoints } = book.state;
    const names = Object.keys(addresses).filter((name) => Object.keys(addresses[name] ?? {}).length > 0);
    for (const name of new Set([...names, ...Object.values(endpoints).map(({ tenant }) => tenant)])) {
      if (this.tenant(name) === undefined)
        log.warning(`Network ${name} is in the book and its record is not known`);
      else this.use(name);
    }
    const plugging = Object.entries(endpoints).map(([id, { tenant }]) => this.#present.get(tenant)?.plug(id));
    for (const outcome of await Promise.allSettled(plugging))
      if (outcome.status === 'rejected') log.error(`Could not restore an endpoint: ${outcome.reason}`);
  }

  /** Resolves when Docker's endpoints on this host are in the book. */
  get isCompared(): Promise<void> {
    return this.#compared.promise;
  }

  /** Docker's endpoints on this host are in the book now. */
  compared(): void {
    this.#isCompared = true;
    this.#compared.resolve();
    for (const present of this.#present.values()) present.compared();
  }

  /** A port that is gone, or has nothing that is up at its other end, is a reason to look at the container. */
  hear(event: KernelEvent): void {
    if (!('object' in event) || event.object.kind !== 'link' || !isPort(event.object.name)) return;
    const { name, up, running } = event.object;
    if (event.type === 'changed' && (up !== true || running === true)) return;
    const found = this.#components.book.endpointOfPort(name);
    if (found === undefined) return;
    const [id, { tenant }] = found;
    this.#present.get(tenant)?.portChanged(id);
  }

  /** Resolves when the devices of all containers have been looked at. */
  async endsLookedAt(): Promise<void> {
    await Promise.all(Array.from(this.#present.values(), (present) => present.endsLookedAt()));
  }

  moved(): void {
    for (const present of this.#present.values()) present.moved();
  }

  /** Closes what nobody needs, until the signal aborts. */
  async tidyAtInterval(signal: AbortSignal): Promise<never> {
    for (;;) {
      await untilBeat(this.#components.clock, LOOK_MS, signal);
      await this.#queue.run(() => this.#tidy());
    }
  }

  async stop(): Promise<void> {
    await Promise.all(Array.from(this.#present.values(), (present) => present.stop()));
  }

  /** Another tenant has the name, and no container is left of the former one. */
  #isReplaced({ tenant, segment }: PresentTenant): boolean {
    const now = this.#components.directory.get(tenant.name);
    if (now === undefined || formatTenant(now) === formatTenant(tenant)) return false;
    return segment?.endpoints[Symbol.iterator]().next().done ?? true;
  }

  #close(present: PresentTenant): void {
    this.#present.delete(present.tenant.name);
    // What it has in the kernel is withdrawn before this returns: the next one wants other things in the same places.
    present
      .closeSegment()
      .then(() => present.stop())
      .catch((error: unknown) => this.#components.log.error(messageOf(error)));
  }

  async #tidy(): Promise<void> {
    for (const [name, present] of this.#present) {
      if (present.idleMs < LINGER_MS) continue;
      await present.closeSegment();
      if (present.isNeeded || present.segment !== undefined || present.idleMs < LINGER_MS) continue;
      this.#present.delete(name);
      await present.stop();
    }
  }
}

/** A tenant of which a network is here, as it was last known. */
export function bookedTenant(book: EndpointBook, name: string): Tenant | undefined {
  const text = book.state.tenants[name];
  const read = text === undefined ? undefined : parseTenant(name, text);
  return read?.ok ? read.value : undefined;
}

/** Whether a network that is here belongs to a former tenant: that one was removed, and another one has its name. */
export function isFormer(book: EndpointBook, directory: Pick<TenantDirectory, 'get'>, name: string): boolean {
  const [former, now] = [bookedTenant(book, name), directory.get(name)];
  return former !== undefined && now !== undefined && tenantDifferences(former, now).length > 0;
}
