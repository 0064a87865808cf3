import type { KnownAddress } from '#src/driver/address-table.ts';
import type { PresentTenant } from '#src/driver/present-tenant.ts';
import { messageOf } from '#src/lib/errors.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { containerOf, isHeld } from '#src/tenant/held-address.ts';
import type { HostRecord } from '#src/tenant/host-codec.ts';

export interface DeadHostsComponents {
  readonly folders: RecordFolders;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The identity of this host. */
  readonly self: string;
  /** The hosts there are, by identity. */
  readonly hosts: () => ReadonlyMap<string, Pick<HostRecord, 'hostName' | 'seen'>>;
  /** The tenants that this host has business with. */
  readonly present: () => Iterable<Pick<PresentTenant, 'tenant' | 'addresses'>>;
}

export interface DeadHostsOptions {
  /** How long a host has to be gone, in milliseconds; 0: it keeps its addresses for ever. */
  readonly graceMs: number;
}

/** A host that shows no life. */
interface Missing {
  /** What its record said when it was missed first. */
  readonly seen: number | undefined;
  /** How long it has been missing, as far as this host has looked. */
  readonly ms: number;
}

const SELDOM_MS = 600_000;
const OFTEN_MS = 1_000;
const LOOKS_PER_GRACE = 10;
/** A released address is forgotten after so long, as its own host would do it. */
const FORGET_MS = 600_000;

/**
 * Gives back the addresses of hosts that are gone for good. A host is gone when it has shown no life for a grace time, which
 * this host counts by its own monotonic clock and only while the registry answers: neither an outage nor another host's
 * clock ends a lease of an address. Each host does this for the tenants that it has business with; the writes are guarded,
 * so it does not matter which one is first.
 *
 * A host that returns takes back what nobody else has taken (PresentTenant).
 */
export class DeadHosts {
  readonly #components: DeadHostsComponents;
  readonly #graceMs: number;
  readonly #lookMs: number;
  readonly #alive: Records;
  #missing: ReadonlyMap<string, Missing> = new Map();
  /** By the monotonic clock; `undefined` while nothing can be said about the time before. */
  #lookedAt: number | undefined;

  constructor(components: DeadHostsComponents, { graceMs }: DeadHostsOptions) {
    this.#components = components;
    this.#graceMs = graceMs;
    this.#lookMs = Math.min(SELDOM_MS, Math.max(OFTEN_MS, graceMs / LOOKS_PER_GRACE));
    this.#alive = components.folders.folder('tenants/alive');
  }

  /** Looks again and again, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    while (this.#graceMs > 0) {
      // Hosts that were started together look at different times.
      await clock.sleep(this.#lookMs * (0.5 + random() / 2), signal);
      await this.look(signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.verbose(1, `could not look for hosts that are gone: ${messageOf(error)}`);
      });
    }
  }

  /** One look, and what follows from it. Throws RegistryError without an answer. */
  async look(signal: AbortSignal): Promise<void> {
    const { clock, self } = this.#components;
    const { records } = await this.#alive.list(signal);
    const alive = new Set(records.map(({ name }) => name));
    const now = clock.monotonic();
    // A longer time than that is an outage, in which nobody could show life.
    const passed = Math.min(now - (this.#lookedAt ?? now), 2 * this.#lookMs);
    this.#lookedAt = now;
    // Just after an outage, or in a store that was emptied, not even this host has shown life yet.
    if (!alive.has(self)) return;
    this.#missing = this.#count(alive, passed);
    for (const { tenant, addresses } of [...this.#components.present()]) {
      for (const known of [...addresses.all()]) {
        if (!this.#isGone(known.host)) continue;
        await this.#free(tenant.name, known, addresses, signal);
      }
    }
  }

  #count(alive: ReadonlySet<string>, passed: number): Map<string, Missing> {
    const { hosts, present, self } = this.#components;
    const known = hosts();
    const ids = new Set(known.keys());
    for (const { addresses } of present()) for (const { host } of addresses.all()) ids.add(host);
    const missing = new Map<string, Missing>();
    for (const id of ids) {
      if (id === self || alive.has(id)) continue;
      const seen = known.get(id)?.seen;
      const before = this.#missing.get(id);
      // It has lived between two looks.
      const isSame = before !== undefined && before.seen === seen;
      missing.set(id, { seen, ms: isSame ? before.ms + passed : 0 });
    }
    return missing;
  }

  #isGone(id: string): boolean {
    return (this.#missing.get(id)?.ms ?? -1) >= this.#graceMs;
  }

  async #free(
    tenant: string,
    known: KnownAddress,
    addresses: PresentTenant['addresses'],
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, hosts } = this.#components;
    if (known.state === 'released' && clock.now() - known.since > FORGET_MS)
      return addresses.remove(known, signal);
    if (!isHeld(known) || !(await addresses.free(known, signal))) return;
    const container = containerOf(known);
    const whose = container === undefined ? '' : ` of container ${container}`;
    const host = hosts().get(known.host)?.hostName ?? known.host;
    log.info(
      `Freed ${formatIp(known.ip)}${whose} in network ${tenant}: its host ${host} is gone for longer than --address-grace`,
    );
  }
}
