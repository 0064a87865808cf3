import { WeftError } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import { LeaseWatcher, type WatcherState } from '#src/registry/lease-watcher.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { LeaseRecord } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { chooseVni } from '#src/tenant/choose-vni.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { faultOfTenant, formatTenant, parseTenant, parseVniName, vniName } from '#src/tenant/tenant-codec.ts';
import { type TenantWish, tenantDifferences } from '#src/tenant/tenant-differences.ts';
import { isTombstone } from '#src/tenant/tombstone.ts';

export interface TenantDirectoryComponents {
  readonly folders: RecordFolders;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Takes what becomes of the registry. Default: nobody. */
  readonly events?: HostEvents;
}

/** A tenant as a user asks for it: without a VNI any free one will do. */
export interface WantedTenant extends Omit<Tenant, 'vni'> {
  readonly vni?: number;
}

/**
 * The tenants of the whole network, as the registry has them. A tenant ends with a tombstone only: a record that is gone
 * without one was lost with its store, and is written again by the hosts that use it.
 */
export class TenantDirectory {
  readonly #components: TenantDirectoryComponents;
  readonly #networks: Records;
  readonly #vnis: Records;
  readonly #tenants = new Map<string, Tenant>();
  readonly #removed = new Set<string>();
  /** Names of tenants that have ended, until somebody asks: another tenant may have the name an event later. */
  readonly #ended = new Set<string>();
  /** By name: as of when it is known. Others: as of the list. */
  readonly #revisions = new Map<string, bigint>();
  #listedAt = -1n;
  readonly #listeners = new Set<() => void>();
  readonly #listed = Promise.withResolvers<void>();
  readonly #watcher: LeaseWatcher;

  constructor(components: TenantDirectoryComponents) {
    this.#components = components;
    this.#networks = components.folders.folder('tenants/networks');
    this.#vnis = components.folders.folder('tenants/vnis');
    this.#watcher = new LeaseWatcher(
      { ...components, registry: this.#networks, logger: components.log },
      {
        words: { records: 'networks', known: 'the networks' },
        onSnapshot: ({ records, revision }) => {
          this.#tenants.clear();
          this.#removed.clear();
          this.#revisions.clear();
          this.#listedAt = revision;
          for (const record of records) this.#learn(record);
          this.#listed.resolve();
          this.#notify();
        },
        onBatch: ({ events, revision }) => {
          for (const event of events) {
            if (event.type === 'put') this.#learn(event.record);
            else this.#forget(event.name, revision);
          }
          this.#notify();
        },
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

  /** Resolves when the tenants have been listed once. */
  get listed(): Promise<void> {
    return this.#listed.promise;
  }

  get(name: string): Tenant | undefined {
    return this.#tenants.get(name);
  }

  all(): Iterable<Tenant> {
    return this.#tenants.values();
  }

  /** Whether a user has removed the tenant from the whole network. */
  isRemoved(name: string): boolean {
    return this.#removed.has(name);
  }

  /** The names of tenants that a user has removed since the call before, also where new tenants have them by now. */
  takeEnded(): ReadonlySet<string> {
    const ended = new Set(this.#ended);
    this.#ended.clear();
    return ended;
  }

  /** Calls back when there may be other tenants; returns how to stop. */
  observe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The tenant as the registry has it now. Throws RegistryError without an answer. */
  async read(name: string, signal: AbortSignal): Promise<Tenant | undefined> {
    const known = this.#tenants.get(name);
    if (known !== undefined) return known;
    const record = await this.#networks.read(name, signal);
    if (record !== undefined && this.#isNew(record)) this.#learn(record);
    return this.#tenants.get(name);
  }

  /**
   * The tenant as the registry has it now, if it is what is wanted; `undefined` when there is none. Throws WeftError
   * `tenant-differs` with both values, and RegistryError without an answer.
   */
  async agreeing(wish: TenantWish, signal: AbortSignal): Promise<Tenant | undefined> {
    const stored = await this.#networks.read(wish.name, signal);
    return stored === undefined || isTombstone(stored.value) ? undefined : this.#agreeing(wish, stored);
  }

  /**
   * The tenant, made if there is none. Throws WeftError `tenant-differs` with both values where there is another one of this
   * name, `tenant-refused` for one that can't be, `vni-taken`, and RegistryError without an answer.
   */
  async ensure(wanted: WantedTenant, signal: AbortSignal): Promise<Tenant> {
    const { name } = wanted;
    const fault = faultOfTenant({ vni: 1, ...wanted });
    if (fault !== undefined) {
      throw new WeftError('tenant-refused', `network ${name} can't be created: ${fault}`, {
        remedy: 'give another value, or none',
      });
    }
    for (;;) {
      const stored = await this.#networks.read(name, signal);
      const isFree = stored === undefined || isTombstone(stored.value);
      if (stored !== undefined && !isFree) return this.#agreeing(wanted, stored);
      const vni = wanted.vni ?? (await this.#claimAnyVni(name, signal));
      if (wanted.vni !== undefined) await this.#claimVni(vni, name, signal);
      const text = formatTenant({ ...wanted, vni });
      const written =
        stored === undefined
          ? await this.#networks.create(name, text, undefined, signal)
          : await this.#networks.replace(stored, text, undefined, signal);
      if (written.outcome === 'written') {
        await this.#keepVni(vni, name, text, signal);
        return this.#learned(written.record);
      }
      // Another host was first, perhaps with the same wish.
      await this.#freeVni(vni, name, signal);
    }
  }

  /**
   * Writes a tenant again whose record was lost with its store. Does nothing where there is one, or a tombstone. Throws
   * WeftError `vni-taken` when another tenant has got its VNI meanwhile.
   */
  async restore(tenant: Tenant, signal: AbortSignal): Promise<void> {
    const { name, vni } = tenant;
    await this.#claimVni(vni, name, signal);
    await this.#networks.create(name, formatTenant(tenant), undefined, signal);
  }

  #agreeing(wanted: TenantWish, stored: LeaseRecord): Tenant {
    const { name } = wanted;
    const there = parseTenant(name, stored.value);
    if (!there.ok) {
      throw new WeftError(
        'tenant-unreadable',
        `the record of network ${name} can't be used: ${there.reason}`,
        {
          remedy: `remove it with "weft network rm ${name}" and create it again`,
        },
      );
    }
    const differences = tenantDifferences(wanted, there.value);
    if (differences.length === 0) return there.value;
    throw new WeftError(
      'tenant-differs',
      `network ${name} exists with other values: ${differences.join('; ')}`,
      {
        remedy: `create it as it is, or under another name; "weft network inspect ${name}" shows it`,
      },
    );
  }

  async #claimAnyVni(name: string, signal: AbortSignal): Promise<number> {
    const { records } = await this.#vnis.list(signal);
    const taken = new Map(records.map((record) => [parseVniName(record.name) ?? 0, record.value]));
    // A creation that was interrupted has left it, or another host is at it with the same wish.
    for (const [vni, owner] of taken) if (owner === name && vni !== 0) return vni;
    for (;;) {
      const choice = chooseVni(undefined, taken);
      if (choice.kind === 'refuse')
        throw new WeftError('vni-taken', choice.reason, { remedy: choice.remedy });
      const { vni } = choice;
      const { outcome } = await this.#vnis.create(vniName(vni), name, undefined, signal);
      if (outcome === 'written') return vni;
      taken.set(vni, name);
    }
  }

  async #claimVni(vni: number, name: string, signal: AbortSignal): Promise<void> {
    const { outcome } = await this.#vnis.create(vniName(vni), name, undefined, signal);
    if (outcome === 'written') return;
    const owner = (await this.#vnis.read(vniName(vni), signal))?.value;
    if (owner === name) return;
    throw new WeftError(
      'vni-taken',
      `could not give VNI ${vni} to network ${name}: network ${owner} has it`,
      {
        remedy: 'choose another one, or none for any that is free',
      },
    );
  }

  /** Between the claim and the record `weft network rm` may have taken the VNI for that of an interrupted creation. */
  async #keepVni(vni: number, name: string, text: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#claimVni(vni, name, signal);
    } catch (error) {
      const stored = await this.#networks.read(name, signal);
      if (error instanceof WeftError && stored?.value === text) await this.#networks.remove(stored, signal);
      throw error;
    }
  }

  /** Only when the network that was made meanwhile does not use it. */
  async #freeVni(vni: number, name: string, signal: AbortSignal): Promise<void> {
    const stored = await this.#networks.read(name, signal);
    const there = stored === undefined ? undefined : parseTenant(name, stored.value);
    if (there?.ok && there.value.vni === vni) return;
    const claim = await this.#vnis.read(vniName(vni), signal);
    if (claim?.value === name) await this.#vnis.remove(claim, signal);
  }

  /** What was written here. */
  #learned(record: LeaseRecord): Tenant {
    const { name, value } = record;
    const read = parseTenant(name, value);
    if (!read.ok) throw new WeftError('tenant-unreadable', `network ${name} can't be used: ${read.reason}`);
    if (this.#isNew(record)) {
      this.#learn(record);
      this.#notify();
    }
    return read.value;
  }

  /** An answer may be older than the events that came before it. */
  #isNew({ name, revision }: LeaseRecord): boolean {
    return revision > (this.#revisions.get(name) ?? this.#listedAt);
  }

  #learn({ name, value, revision }: LeaseRecord): void {
    this.#forget(name, revision);
    if (isTombstone(value)) {
      this.#removed.add(name);
      this.#ended.add(name);
      return;
    }
    const read = parseTenant(name, value);
    if (read.ok) this.#tenants.set(name, read.value);
    else this.#components.log.warning(`The record of network ${name} is refused: ${read.reason}`);
  }

  #forget(name: string, revision: bigint): void {
    this.#revisions.set(name, revision);
    this.#tenants.delete(name);
    this.#removed.delete(name);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}
