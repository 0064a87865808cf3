import { isAbort, messageOf } from '#src/lib/errors.ts';
import { type HostEvents, type NotedEvent, silentEvents } from '#src/lib/host-events.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { HeldLease } from '#src/membership/membership.ts';
import type { Expiry, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { readSignature } from '#src/network/signed-lease.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { LeaseRecord, Registry, WatchEvent } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface LeaseKeeperComponents {
  readonly registry: Pick<Registry, 'read' | 'create' | 'replace' | 'renew'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Takes what becomes of our lease. Default: nobody. */
  readonly events?: HostEvents;
}

export interface LeaseKeeperOptions {
  /** Seconds a lease lives without renewal; flannel's is 86,400. */
  readonly ttlSeconds: number;
  /** Seconds before its end at which it is renewed. */
  readonly marginSeconds: number;
  /** Signs what is published for our subnet; `before` is what was published last. Default: nothing is signed. */
  sign?(name: string, attributes: LeaseAttributes, before?: LeaseAttributes): LeaseAttributes;
  /**
   * Whether a record that another wrote over our lease is written over in turn while our lease lives: where leases are signed
   * nobody takes a subnet before its lease has ended. Default: it is left, because flannel's hosts may do so.
   */
  readonly defends?: boolean;
}

/**
 * Keeps one lease: renews it in time, claims it again when it is lost, and never gives up the subnet, because
 * containers have its addresses. Every write is guarded by the record that was just read: a key that another node
 * holds is left to it, unless ours is to be defended, and reported as lost.
 */
export class LeaseKeeper {
  readonly #components: LeaseKeeperComponents;
  readonly #options: LeaseKeeperOptions;
  readonly #subnets: Subnets;
  /** Our own, as we last wrote it or saw it. */
  #record: LeaseRecord;
  #attributes: LeaseAttributes;
  #due: Due;
  /** There was a reason to write since the last write began, so that its answer does not settle everything. */
  #urgent = false;
  #holder: string | undefined;
  /** When our lease may be defended again, by the monotonic clock: a writer that goes on is not to make us write as fast. */
  #defendsAt = Number.NEGATIVE_INFINITY;
  #failure: string | undefined;
  #renewals = 0;
  #failures = 0;
  /** When the lease ends, as far as this node's own writes say. */
  #end: Due;
  #wake: (() => void) | undefined;

  constructor(
    components: LeaseKeeperComponents,
    { subnets, record }: HeldLease,
    attributes: LeaseAttributes,
    options: LeaseKeeperOptions,
  ) {
    this.#components = components;
    this.#subnets = subnets;
    this.#record = record;
    this.#attributes = attributes;
    this.#options = options;
    this.#due = this.#afterTtl();
    this.#end = this.#after(options.ttlSeconds * 1000);
  }

  get held(): HeldLease {
    return { subnets: this.#subnets, record: this.#record };
  }

  /** What is published, or will be soon. */
  get attributes(): LeaseAttributes {
    return this.#attributes;
  }

  /** Why the registry does not show that we hold the lease; `undefined` while it does. */
  get trouble(): string | undefined {
    if (this.#holder !== undefined) return `the lease ${this.#record.name} is held by ${this.#holder}`;
    return this.#failure;
  }

  /** Writes of the lease since the start: those that were taken, and those that failed. */
  get counts(): { readonly renewals: number; readonly failures: number } {
    return { renewals: this.#renewals, failures: this.#failures };
  }

  /**
   * Milliseconds until the lease ends, if it is not renewed; `undefined` for a reservation. By both clocks, whichever is
   * earlier. The store counts from a moment later.
   */
  get remainingMs(): number | undefined {
    if (this.#record.expiry.kind === 'reservation') return undefined;
    const { clock } = this.#components;
    return Math.min(this.#end.monotonic - clock.monotonic(), this.#end.wall - clock.now());
  }

  /** Publishes other attributes (a new public IP) in place, soon. */
  publish(attributes: LeaseAttributes): void {
    const { sign } = this.#options;
    this.#attributes = sign?.(this.#record.name, attributes, this.#attributes) ?? attributes;
    this.#hurry();
  }

  /** What the registry says of our key. Our own writes come back here, too, and ask for nothing. */
  onEvent(event: WatchEvent): void {
    const { log } = this.#components;
    if (event.type === 'removed') {
      if (event.name !== this.#record.name) return;
      log.warning(`Our lease ${event.name} was removed from the registry: claiming it again`);
      this.#note('warning', 'Our own lease was removed from the registry; it is claimed again');
      this.#hurry();
      return;
    }
    const { record } = event;
    if (record.name !== this.#record.name || record.revision <= this.#record.revision) return;
    if (record.value === this.#value) {
      this.#seeOwn(record);
    } else {
      log.warning(`Our lease ${record.name} was overwritten with ${record.value.slice(0, 200)}`);
      this.#note('warning', `Our own lease was overwritten with ${record.value.slice(0, 200)}`);
      this.#hurry();
    }
  }

  /** What a whole list says of our key, for events that were lost. */
  onSnapshot(records: readonly LeaseRecord[]): void {
    const record = records.find(({ name }) => name === this.#record.name);
    if (record === undefined) this.onEvent({ type: 'removed', name: this.#record.name });
    else if (record.value !== this.#value) this.#hurry();
    // Without a look at the revision: a store that was restored or replaced counts from the beginning.
    else this.#seeOwn(record);
  }

  /** Keeps the lease until the signal aborts, and rejects with its reason. */
  async keep(signal: AbortSignal): Promise<never> {
    const { random } = this.#components;
    for (let failures = 0; ; ) {
      await this.#untilDue(signal);
      this.#urgent = false;
      let next: Due;
      try {
        const written = await this.#write(signal);
        failures = 0;
        next = this.#urgent ? this.#after(0) : (written ?? this.#after(CONFLICT_PAUSE_MS * (1 + random())));
      } catch (error) {
        signal.throwIfAborted();
        failures++;
        this.#failures++;
        this.#fail(`could not renew the lease ${this.#record.name}: ${messageOf(error)}`);
        next = this.#after(Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS));
      }
      this.#due = next;
    }
  }

  /** One guarded write; when the next one is due, or `undefined` when another write came before it. */
  async #write(signal: AbortSignal): Promise<Due | undefined> {
    const { registry } = this.#components;
    const { name } = this.#record;
    const end = this.#after(this.#options.ttlSeconds * 1000);
    // First, because it needs least of the store: it keeps the lease where a write is refused.
    const isAlive = await this.#renew(signal);
    const current = await registry.read(name, signal);
    const isAnothers = current !== undefined && !this.#isOurs(current);
    if (isAnothers) {
      this.#reportHolder(current);
      const pauseMs = this.#pauseBeforeDefence();
      if (pauseMs > 0) return this.#after(pauseMs);
    }
    if (isAlive && current?.value === this.#value && isSame(current.expiry, this.#record.expiry)) {
      this.#record = current;
      this.#reportHeld(`for ${this.#options.ttlSeconds} s`, end);
      return this.#afterTtl();
    }
    const reserved = (isAnothers ? this.#record : (current ?? this.#record)).expiry.kind === 'reservation';
    const ttl = reserved ? undefined : this.#options.ttlSeconds;
    const written =
      current === undefined
        ? await registry.create(name, this.#value, ttl, signal)
        : await registry.replace(current, this.#value, ttl, signal);
    if (written.outcome === 'conflict') return undefined;
    this.#record = written.record;
    this.#reportHeld(reserved ? 'a reservation' : `for ${ttl} s`, end);
    return this.#afterTtl();
  }

  async #renew(signal: AbortSignal): Promise<boolean> {
    try {
      return await this.#components.registry.renew(this.#record, this.#options.ttlSeconds, signal);
    } catch (error) {
      // A store that refuses this may still take a write.
      if (error instanceof RegistryError && (error.reason === 'refused' || error.reason === 'denied'))
        return false;
      throw error;
    }
  }

  /** After its end another host may have the subnet by right. */
  get #mayDefend(): boolean {
    return this.#options.defends === true && (this.remainingMs ?? 1) > 0;
  }

  /** Milliseconds until our lease may be written over another's. The time is taken: the next defence has to wait. */
  #pauseBeforeDefence(): number {
    if (!this.#mayDefend) return LOST_PAUSE_MS;
    const now = this.#components.clock.monotonic();
    if (now < this.#defendsAt) return this.#defendsAt - now;
    this.#defendsAt = now + DEFENCE_PAUSE_MS;
    return 0;
  }

  #seeOwn(record: LeaseRecord): void {
    const becameReservation =
      record.expiry.kind === 'reservation' && this.#record.expiry.kind !== 'reservation';
    if (becameReservation)
      this.#components.log.info(`Our lease ${record.name} was made a reservation: it stays one`);
    this.#record = record;
  }

  /**
   * A record is ours when it names our node, when it names no node but our address (a flannel before us), and when it
   * names nobody (an operator's reservation).
   */
  #isOurs(record: LeaseRecord): boolean {
    const decoded = decodeAttributes(record.value);
    if (!decoded.ok) return true;
    const { node, publicIp, publicIpv6 } = decoded.attributes;
    const own = this.#attributes;
    if (node !== undefined) return node === own.node;
    // Go writes the zero address for none.
    const isAbsent = publicIp === undefined || publicIp === 0;
    if (own.publicIp !== undefined) return isAbsent || publicIp === own.publicIp;
    return isAbsent && (publicIpv6 === undefined || publicIpv6 === own.publicIpv6);
  }

  #reportHeld(how: string, end: Due): void {
    this.#renewals++;
    this.#end = end;
    const { log } = this.#components;
    const { name } = this.#record;
    if (this.trouble === undefined) log.info(`Lease ${name} renewed, ${how}`);
    else {
      log.info(`Holding the lease ${name} again, ${how}`);
      this.#note('info', 'Our own lease is held again');
    }
    this.#holder = undefined;
    this.#failure = undefined;
  }

  #reportHolder(record: LeaseRecord): void {
    const decoded = decodeAttributes(record.value);
    const { node, publicIp, publicIpv6 } = decoded.ok ? decoded.attributes : {};
    const ip = publicIp || publicIpv6;
    const signature = decoded.ok ? readSignature(decoded.attributes) : undefined;
    const key = signature?.kind === 'signed' ? `, signed with the key ${signature.key}` : '';
    const holder = `${ip === undefined ? 'another node' : formatIp(ip)}${node === undefined ? '' : ` (node ${node})`}${key}`;
    this.#failure = undefined;
    if (holder === this.#holder) return;
    this.#holder = holder;
    if (this.#mayDefend) {
      this.#note('error', `Our own lease was written over by ${holder}; it is taken back`);
      this.#components.log.error(
        `Our lease ${record.name} was written over by ${holder}, although it has not ended: taking it back`,
      );
      return;
    }
    this.#note('error', `Our own subnet is held by ${holder}: other hosts send its packets there`);
    this.#components.log.error(
      `Our subnet ${record.name} is now held by ${holder}: the other hosts send its packets there. Containers here keep their addresses; the subnet is claimed again as soon as it is free, a restart takes another one`,
    );
  }

  #fail(text: string): void {
    if (this.#failure === undefined) {
      this.#components.log.error(`Error renewing lease: ${text}; trying again`);
      this.#note('error', `Our own lease could not be renewed, and is tried again: ${text}`);
    }
    this.#failure = text;
  }

  #note(severity: NotedEvent['severity'], text: string): void {
    const { events = silentEvents } = this.#components;
    events.note({ type: 'lease', severity, subject: this.#record.name, text });
  }

  get #value(): string {
    return encodeAttributes(this.#attributes);
  }

  #hurry(): void {
    this.#urgent = true;
    this.#due = this.#after(0);
    this.#wake?.();
  }

  #after(ms: number): Due {
    const { clock } = this.#components;
    return { monotonic: clock.monotonic() + ms, wall: clock.now() + ms };
  }

  #afterTtl(): Due {
    const { ttlSeconds, marginSeconds } = this.#options;
    // A margin as long as the lease itself would renew without end.
    return this.#after(1000 * Math.max(ttlSeconds - marginSeconds, ttlSeconds / 2));
  }

  /**
   * Waits by both clocks, whichever comes first, in slices: the monotonic one stands still while the machine sleeps,
   * the wall clock may be set back.
   */
  async #untilDue(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    for (;;) {
      signal.throwIfAborted();
      const left = Math.min(this.#due.monotonic - clock.monotonic(), this.#due.wall - clock.now());
      if (left <= 0) return;
      const slice = new AbortController();
      this.#wake = () => slice.abort();
      try {
        await clock.sleep(Math.min(left, LONGEST_SLICE_MS), AbortSignal.any([signal, slice.signal]));
      } catch (error) {
        if (signal.aborted || !isAbort(error)) throw error;
      } finally {
        this.#wake = undefined;
      }
    }
  }
}

/** Whether both are the lease that was just renewed. */
const isSame = (a: Expiry, b: Expiry): boolean =>
  a.kind === 'leased' ? b.kind === 'leased' && a.leaseId === b.leaseId : a.kind === 'expires';

interface Due {
  readonly monotonic: number;
  readonly wall: number;
}

const CONFLICT_PAUSE_MS = 50;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
const LOST_PAUSE_MS = 10_000;
const DEFENCE_PAUSE_MS = 1_000;
const LONGEST_SLICE_MS = 30_000;
