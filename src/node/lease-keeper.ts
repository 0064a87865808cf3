import { isAbort, messageOf } from '#src/lib/errors.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import type { LeaseRecord, Registry, WatchEvent } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

/** The lease this node holds: its subnets, and its record as we last saw it. */
export interface HeldLease {
  readonly subnets: Subnets;
  readonly record: LeaseRecord;
}

export interface LeaseKeeperComponents {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface LeaseKeeperOptions {
  /** Seconds a lease lives without renewal; flannel's is 86,400. */
  readonly ttlSeconds: number;
  /** Seconds before its end at which it is renewed. */
  readonly marginSeconds: number;
}

/**
 * Keeps one lease: renews it in time, claims it again when it is lost, and never gives up the subnet, because
 * containers have its addresses. Every write is guarded by the record that was just read: a key that another node
 * holds is left to it, and said to be lost.
 */
export class LeaseKeeper {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: LeaseKeeperOptions;
  readonly #subnets: Subnets;
  #record: LeaseRecord;
  #attributes: LeaseAttributes;
  #due: Due;
  #holder: string | undefined;
  #failure: string | undefined;
  #wake: (() => void) | undefined;

  constructor(
    { registry, clock, log }: LeaseKeeperComponents,
    { subnets, record }: HeldLease,
    attributes: LeaseAttributes,
    options: LeaseKeeperOptions,
  ) {
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
    this.#subnets = subnets;
    this.#record = record;
    this.#attributes = attributes;
    this.#options = options;
    this.#due = this.#afterTtl();
  }

  get held(): HeldLease {
    return { subnets: this.#subnets, record: this.#record };
  }

  /** Why the registry does not say that we hold the lease; `undefined` while it does. */
  get trouble(): string | undefined {
    if (this.#holder !== undefined) return `the lease ${this.#record.name} is held by ${this.#holder}`;
    return this.#failure;
  }

  /** Publishes other attributes (a new public IP) in place, soon. */
  publish(attributes: LeaseAttributes): void {
    this.#attributes = attributes;
    this.#hurry();
  }

  /** What the registry tells of our key. Our own writes come back here, too, and ask for nothing. */
  onEvent(event: WatchEvent): void {
    if (event.type === 'removed') {
      if (event.name !== this.#record.name) return;
      this.#log.warning(`Our lease ${event.name} was removed from the registry: claiming it again`);
      this.#hurry();
      return;
    }
    const { record } = event;
    if (record.name !== this.#record.name || record.revision <= this.#record.revision) return;
    const becameReservation =
      record.expiry.kind === 'reservation' && this.#record.expiry.kind !== 'reservation';
    if (becameReservation) this.#log.info(`Our lease ${record.name} was made a reservation: it stays one`);
    this.#record = record;
    if (record.value === this.#value) return;
    this.#log.warning(`Our lease ${record.name} was overwritten with ${record.value.slice(0, 200)}`);
    this.#hurry();
  }

  /** What a whole list says of our key, for what was missed. */
  onSnapshot(records: readonly LeaseRecord[]): void {
    const record = records.find(({ name }) => name === this.#record.name);
    // A store that was restored or replaced counts its revisions anew.
    if (record === undefined) this.onEvent({ type: 'removed', name: this.#record.name });
    else if (record.value !== this.#value) this.#hurry();
    else this.#record = record;
  }

  /** Keeps the lease until the signal aborts. */
  async keep(signal: AbortSignal): Promise<void> {
    for (let failures = 0; ; ) {
      await this.#untilDue(signal);
      try {
        this.#due = (await this.#write(signal)) ?? this.#after(CONFLICT_PAUSE_MS * (1 + Math.random()));
        failures = 0;
      } catch (error) {
        if (isAbort(error)) throw error;
        failures++;
        this.#fail(`could not renew the lease ${this.#record.name}: ${messageOf(error)}`);
        this.#due = this.#after(Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LONGEST_RETRY_MS));
      }
    }
  }

  /** One guarded write; when the next one is due, or `undefined` when somebody was faster. */
  async #write(signal: AbortSignal): Promise<Due | undefined> {
    const { name } = this.#record;
    const current = await this.#registry.read(name, signal);
    if (current !== undefined && !this.#isOurs(current)) {
      this.#sayHolder(current);
      return this.#after(LOST_PAUSE_MS);
    }
    const reserved = (current ?? this.#record).expiry.kind === 'reservation';
    const ttl = reserved ? undefined : this.#options.ttlSeconds;
    const written =
      current === undefined
        ? await this.#registry.create(name, this.#value, ttl, signal)
        : await this.#registry.replace(current, this.#value, ttl, signal);
    if (written.outcome === 'conflict') return undefined;
    this.#record = written.record;
    if (this.#holder !== undefined || this.#failure !== undefined)
      this.#log.info(`Holding the lease ${name} again`);
    else this.#log.info(`Lease ${name} renewed${reserved ? ' (a reservation)' : ` for ${ttl} s`}`);
    this.#holder = undefined;
    this.#failure = undefined;
    return this.#afterTtl();
  }

  /** A record is ours when it names our node; from a flannel before us, when it names our address; and when it names nobody. */
  #isOurs(record: LeaseRecord): boolean {
    const decoded = decodeAttributes(record.value);
    if (!decoded.ok) return true;
    const { node, publicIp } = decoded.attributes;
    return node === undefined ? publicIp === this.#attributes.publicIp : node === this.#attributes.node;
  }

  #sayHolder(record: LeaseRecord): void {
    const decoded = decodeAttributes(record.value);
    const { node, publicIp } = decoded.ok ? decoded.attributes : {};
    const holder = `${publicIp === undefined ? 'another node' : formatIp(publicIp)}${node === undefined ? '' : ` (node ${node})`}`;
    if (holder === this.#holder) return;
    this.#holder = holder;
    this.#log.error(
      `Our subnet ${record.name} is now held by ${holder}: the other hosts send its packets there. Containers here keep their addresses; the subnet is claimed again as soon as it is free, a restart takes another one`,
    );
  }

  #fail(text: string): void {
    if (this.#failure === undefined) this.#log.error(`Error renewing lease: ${text}; trying again`);
    this.#failure = text;
  }

  get #value(): string {
    return encodeAttributes(this.#attributes);
  }

  #hurry(): void {
    this.#due = this.#after(0);
    this.#wake?.();
  }

  #after(ms: number): Due {
    return { monotonic: this.#clock.monotonic() + ms, wall: this.#clock.now() + ms };
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
    for (;;) {
      const left = Math.min(
        this.#due.monotonic - this.#clock.monotonic(),
        this.#due.wall - this.#clock.now(),
      );
      if (left <= 0) return;
      const slice = new AbortController();
      this.#wake = () => slice.abort();
      try {
        await this.#clock.sleep(Math.min(left, LONGEST_SLICE_MS), AbortSignal.any([signal, slice.signal]));
      } catch (error) {
        if (signal.aborted || !isAbort(error)) throw error;
      } finally {
        this.#wake = undefined;
      }
    }
  }
}

interface Due {
  readonly monotonic: number;
  readonly wall: number;
}

const CONFLICT_PAUSE_MS = 50;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
const LOST_PAUSE_MS = 10_000;
const LONGEST_SLICE_MS = 30_000;
