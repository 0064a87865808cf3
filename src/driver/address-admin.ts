import {
  addressFolder,
  hostText,
  readAddresses,
  readTenantOverview,
  type StoredAddress,
  type TenantOverview,
} from '#src/driver/tenant-overview.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { LeaseRecord } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import { addressName, formatAddress, parseAddress } from '#src/tenant/address-codec.ts';
import { freedAddress, heldText, isHeld } from '#src/tenant/held-address.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';

export interface AddressAdminComponents {
  readonly folders: RecordFolders;
  readonly clock: Clock;
}

export interface ForceOption {
  /** Also what a host that shows life has. */
  readonly force: boolean;
}

/** An address that was given back, as it was before. */
export interface FreedAddress extends AddressRecord {
  readonly tenant: string;
}

export interface FreedHost {
  readonly id: string;
  readonly hostName: string | undefined;
  readonly addresses: readonly FreedAddress[];
  /** Its own record is gone, too. */
  readonly isForgotten: boolean;
}

/** Who may take an address now. */
export interface HandedOver {
  /** An identity. */
  readonly to: string;
  readonly hostName: string | undefined;
  /** Who has it until then. */
  readonly container: string | undefined;
}

const MOST_TRIES = 8;

/** What an operator changes of addresses, without a host. Every write is guarded by what was read. */
export class AddressAdmin {
  readonly #components: AddressAdminComponents;

  constructor(components: AddressAdminComponents) {
    this.#components = components;
  }

  /** Makes an address survive its release, or no longer. Throws WeftError `no-such-address`. */
  async setKeep(tenant: string, ip: Ip, keep: boolean, signal: AbortSignal): Promise<AddressRecord> {
    return this.#attempt(tenant, ip, signal, async (records, known) => {
      if (known.keep === keep) return known;
      const kept: AddressRecord = isHeld(known)
        ? { ...known, keep }
        : freedAddress({ ...known, keep }, this.#components.clock.now());
      const text = formatAddress(kept, known.stored.value);
      const { outcome } = await records.replace(known.stored, text, undefined, signal);
      return outcome === 'written' ? kept : undefined;
    });
  }

  /**
   * Lets another host, by name or identity, take an address that is in use: its host keeps it until a container runs with it
   * there. Throws WeftError `no-such-address`, `no-such-host`, and `address-move` with the reason.
   */
  async handOver(tenant: string, ip: Ip, host: string, signal: AbortSignal): Promise<HandedOver> {
    const overview = await readTenantOverview(this.#components.folders, signal);
    const to = identityOf(host, overview, new Set());
    const refused = (why: string, remedy: string): WeftError =>
      new WeftError('address-move', `could not hand over ${formatIp(ip)} of network ${tenant}: ${why}`, {
        remedy,
      });
    if (!overview.alive.has(to))
      throw refused(`${hostText(overview, to)} shows no life`, 'see that flanneld runs there');
    const { names } = await this.#attempt(tenant, ip, signal, async (records, known) => {
      if (known.state !== 'published') {
        const remedy =
          known.state === 'reserved' ? 'wait until its container runs' : 'ask for it with --ip on any host';
        throw refused(`it is ${known.state}`, remedy);
      }
      if (known.host === to) throw refused(`${hostText(overview, to)} has it`, 'name another host');
      return this.#setTaker(records, known, to, signal);
    });
    return { to, hostName: overview.hosts.get(to)?.hostName, container: names[0] };
  }

  /** Takes back {@link handOver}, as far as the address has not been taken. Throws WeftError `no-such-address`. */
  async cancelHandOver(tenant: string, ip: Ip, signal: AbortSignal): Promise<void> {
    await this.#attempt(tenant, ip, signal, (records, known) =>
      this.#setTaker(records, known, undefined, signal),
    );
  }

  async #setTaker(
    records: Records,
    known: StoredAddress,
    to: string | undefined,
    signal: AbortSignal,
  ): Promise<AddressRecord | undefined> {
    if (known.to === to) return known;
    const { to: _, stored, ...rest } = known;
    const text = formatAddress({ ...rest, ...(to !== undefined && { to }) }, stored.value);
    return (await records.replace(stored, text, undefined, signal)).outcome === 'written' ? known : undefined;
  }

  /**
   * Removes the record of an address; what it said. Throws WeftError `no-such-address`, and `address-held` while a host that
   * shows life has it. Such a host writes a record again that was removed by force.
   */
  async remove(
    tenant: string,
    ip: Ip,
    { force }: ForceOption,
    signal: AbortSignal,
  ): Promise<AddressRecord | undefined> {
    const overview = await readTenantOverview(this.#components.folders, signal);
    const unreadable = await this.#unreadable(tenant, ip, signal);
    if (unreadable !== undefined) {
      await this.#removeUnreadable(tenant, unreadable, force, signal);
      return undefined;
    }
    return this.#attempt(tenant, ip, signal, async (records, known) => {
      if (isHeld(known) && overview.alive.has(known.host) && !force) {
        throw new WeftError('address-held', heldText(known, hostText(overview, known.host)), {
          remedy: 'remove the container, or add --force if it is not there any more',
        });
      }
      // Hosts refuse for a while to give away an address whose record goes while it is held.
      const { stored } = isHeld(known) ? ((await this.#free(records, known, signal)) ?? {}) : known;
      if (stored === undefined) return undefined;
      return (await records.remove(stored, signal)) ? known : undefined;
    });
  }

  /**
   * Gives back all that a host has which is gone, and forgets the host. `host`: its name or identity. Throws WeftError
   * `no-such-host`, and `host-alive` while it shows life.
   */
  async freeHost(host: string, { force }: ForceOption, signal: AbortSignal): Promise<FreedHost> {
    const { folders } = this.#components;
    const overview = await readTenantOverview(folders, signal);
    const names = [...overview.tenants.keys(), ...overview.refused.keys(), ...overview.removed];
    const all = await Promise.all(
      names.map(async (tenant) => ({ tenant, ...(await readAddresses(folders, tenant, signal)) })),
    );
    const id = identityOf(host, overview, new Set(all.flatMap(({ addresses }) => addresses.map(hostOf))));
    const isAlive = overview.alive.has(id);
    if (isAlive && !force) {
      throw new WeftError('host-alive', `${hostText(overview, id)} is alive, and has its addresses in use`, {
        remedy: 'stop its containers, or add --force',
      });
    }
    const freed: FreedAddress[] = [];
    for (const { tenant, addresses } of all) {
      for (const { ip, host: holder, state } of addresses) {
        if (holder !== id || !isHeld({ state })) continue;
        const before = await this.#freeOf(tenant, ip, id, signal);
        if (before !== undefined) freed.push({ ...before, tenant });
      }
    }
    const hosts = folders.folder('tenants/hosts');
    const record = isAlive ? undefined : await hosts.read(id, signal);
    const isForgotten = record !== undefined && (await hosts.remove(record, signal));
    return { id, hostName: overview.hosts.get(id)?.hostName, addresses: freed, isForgotten };
  }

  /** Frees the address if the host still has it; what its record said. */
  async #freeOf(
    tenant: string,
    ip: Ip,
    host: string,
    signal: AbortSignal,
  ): Promise<AddressRecord | undefined> {
    const records = this.#recordsOf(tenant);
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const known = await readOne(records, ip, signal);
      if (known === undefined || known.host !== host || !isHeld(known)) return undefined;
      if ((await this.#free(records, known, signal)) !== undefined) return known;
    }
    throw keepsChanging(tenant, ip);
  }

  async #free(
    records: Records,
    known: StoredAddress,
    signal: AbortSignal,
  ): Promise<{ readonly stored: LeaseRecord } | undefined> {
    const text = formatAddress(freedAddress(known, this.#components.clock.now()), known.stored.value);
    const written = await records.replace(known.stored, text, undefined, signal);
    return written.outcome === 'written' ? { stored: written.record } : undefined;
  }

  /** Again and again until the step gives something: it gives `undefined` when the record had changed. */
  async #attempt<T>(
    tenant: string,
    ip: Ip,
    signal: AbortSignal,
    step: (records: Records, known: StoredAddress) => Promise<T | undefined>,
  ): Promise<T> {
    const records = this.#recordsOf(tenant);
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const known = await readOne(records, ip, signal);
      if (known === undefined) throw noSuchAddress(tenant, ip);
      const done = await step(records, known);
      if (done !== undefined) return done;
    }
    throw keepsChanging(tenant, ip);
  }

  async #unreadable(tenant: string, ip: Ip, signal: AbortSignal) {
    const stored = await this.#recordsOf(tenant).read(addressName(ip), signal);
    const read = stored && parseAddress(stored.name, stored.value);
    return stored !== undefined && read?.ok === false ? { stored, reason: read.reason } : undefined;
  }

  async #removeUnreadable(
    tenant: string,
    { stored, reason }: { readonly stored: LeaseRecord; readonly reason: string },
    force: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    if (!force) {
      const what = `the record of ${stored.name} in network ${tenant} can't be read: ${reason}`;
      throw new WeftError('address-held', what, { remedy: 'add --force to remove it' });
    }
    await this.#recordsOf(tenant).remove(stored, signal);
  }

  #recordsOf(tenant: string): Records {
    return this.#components.folders.folder(addressFolder(tenant));
  }
}

async function readOne(records: Records, ip: Ip, signal: AbortSignal): Promise<StoredAddress | undefined> {
  const stored = await records.read(addressName(ip), signal);
  const read = stored && parseAddress(stored.name, stored.value);
  return stored !== undefined && read?.ok ? { ...read.value, stored } : undefined;
}

const hostOf = ({ host }: AddressRecord): string => host;

/** By identity, or by a name that one host has. A host whose record is gone may still have addresses. */
function identityOf(text: string, { hosts }: TenantOverview, holders: ReadonlySet<string>): string {
  if (hosts.has(text) || holders.has(text)) return text;
  const [first, second] = [...hosts.values()].filter(({ hostName }) => hostName === text);
  if (first !== undefined && second === undefined) return first.id;
  if (first === undefined || second === undefined) {
    throw new WeftError('no-such-host', `there is no host ${text} with tenants`, {
      remedy: '"weft network inspect NAME" lists the hosts of a network',
    });
  }
  throw new WeftError('no-such-host', `several hosts are called ${text}: ${first.id}, ${second.id}`, {
    remedy: 'give the identity of one',
  });
}

const noSuchAddress = (tenant: string, ip: Ip): WeftError =>
  new WeftError('no-such-address', `network ${tenant} has no record of ${formatIp(ip)}`, {
    remedy: `"weft address ls ${tenant}" lists those there are`,
  });

const keepsChanging = (tenant: string, ip: Ip): WeftError =>
  new WeftError('address-held', `the record of ${formatIp(ip)} in network ${tenant} keeps changing`, {
    remedy: 'look at it again with "weft address ls"',
  });
