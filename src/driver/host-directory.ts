import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { LeaseRecord } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';
import { formatAlive, formatHost, type HostRecord, parseHost } from '#src/tenant/host-codec.ts';

export interface HostDirectoryComponents {
  readonly folders: RecordFolders;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** What this host says of itself now. */
  readonly self: () => HostRecord;
}

export interface HostDirectoryOptions {
  /** The hosts are others, or have other places. */
  readonly onChange: () => void;
}

/**
 * The record that shows that a host lives outlasts a short outage of the registry. v2 has no renewal without a write, and
 * keeps 1,000 events for all watchers: there it is written less often.
 */
const ALIVE = {
  v2: { seconds: 600, renewMs: 200_000 },
  others: { seconds: 60, renewMs: 20_000 },
};
/** How often this host writes when it last lived. */
const SEEN_MS = 3_600_000;
/** Frames of a host are taken for so long after its record is gone. */
const LINGER_MS = 30_000;
const PAUSES = { baseMs: 500, capMs: 5_000 };
/** Networks come in groups, and the record has all that there are: with thousands it is long. */
const SOON_MS = 5_000;

/** The hosts that have tenants, as the registry has them; this host among them. */
export class HostDirectory {
  readonly #components: HostDirectoryComponents;
  readonly #hosts: Records;
  readonly #alive: Records;
  readonly #known = new Map<string, HostRecord>();
  /** Of hosts whose records are gone. */
  readonly #lingering = new Map<Ip, Timer>();
  readonly #onChange: () => void;
  readonly #watcher: LeaseWatcher;
  #changed = Promise.withResolvers<void>();
  #soon: Timer | undefined;
  #isListed = false;

  constructor(components: HostDirectoryComponents, { onChange }: HostDirectoryOptions) {
    const { folders, log } = components;
    this.#components = components;
    this.#onChange = onChange;
    this.#hosts = folders.folder('tenants/hosts');
    this.#alive = folders.folder('tenants/alive');
    this.#watcher = new LeaseWatcher(
      { ...components, registry: this.#hosts, logger: log },
      {
        words: { records: 'hosts', known: 'the hosts' },
        onSnapshot: ({ records }) => {
          const former = [...this.#known.values()];
          this.#known.clear();
          for (const record of records) this.#learn(record);
          for (const host of former) if (!this.#known.has(host.id)) this.#linger(host);
          this.#isListed = true;
          this.publish();
          onChange();
        },
        onBatch: ({ events }) => {
          for (const event of events) {
            if (event.type === 'put') this.#learn(event.record);
            else this.#lose(event.name);
          }
          if (!this.#known.has(components.self().id)) this.publish();
          onChange();
        },
      },
    );
  }

  /** Follows the hosts and keeps this host's records, until the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    const life = new Lifetime(signal);
    try {
      life.run((ended) => this.#watcher.run(ended));
      life.run((ended) => this.#keepRecord(ended));
      life.run((ended) => this.#keepAlive(ended));
      return await life.ended();
    } finally {
      this.#soon?.stop();
      for (const timer of this.#lingering.values()) timer.stop();
      await life.stop();
    }
  }

  /** Whether the registry has answered. */
  get isListed(): boolean {
    return this.#isListed;
  }

  /** The underlay addresses of all hosts, this one's included, and those of hosts whose records went a moment ago. */
  vteps(): Ip[] {
    const { id, vtep } = this.#components.self();
    const others = this.#known.values().filter((host) => host.id !== id);
    return [...new Set([vtep, ...others.map((host) => host.vtep), ...this.#lingering.keys()])];
  }

  nameOf(id: string): string | undefined {
    return this.#known.get(id)?.hostName;
  }

  /** The records of all hosts, by identity. */
  get known(): ReadonlyMap<string, HostRecord> {
    return this.#known;
  }

  /** This host says something else of itself now. */
  publish(): void {
    this.#changed.resolve();
  }

  /** This host says something else of itself, and nobody waits for it. */
  publishSoon(): void {
    this.#soon ??= startTimer(this.#components.clock, SOON_MS, () => {
      this.#soon = undefined;
      this.publish();
    });
  }

  /** The tenant of one of Docker's networks on this host, as the registry remembers it. */
  async recall(networkId: string, signal: AbortSignal): Promise<string | undefined> {
    const { id } = this.#components.self();
    const record = await this.#hosts.read(id, signal);
    const read = record && parseHost(id, record.value);
    return read?.ok ? read.value.docker[networkId] : undefined;
  }

  #lose(id: string): void {
    const host = this.#known.get(id);
    this.#known.delete(id);
    if (host !== undefined) this.#linger(host);
  }

  /** A store that was emptied gets the record again from its host, whose frames must not be dropped meanwhile. */
  #linger({ vtep }: HostRecord): void {
    this.#lingering.get(vtep)?.stop();
    const timer = startTimer(this.#components.clock, LINGER_MS, () => {
      this.#lingering.delete(vtep);
      this.#onChange();
    });
    this.#lingering.set(vtep, timer);
  }

  #learn({ name, value }: LeaseRecord): void {
    const read = parseHost(name, value);
    if (read.ok) this.#known.set(name, read.value);
    else this.#components.log.warning(`The record of host ${name} is refused: ${read.reason}`);
  }

  async #keepRecord(signal: AbortSignal): Promise<never> {
    const { clock, log } = this.#components;
    const backoff = new Backoff(this.#components, PAUSES);
    for (;;) {
      this.#changed = Promise.withResolvers<void>();
      try {
        await this.#writeRecord(signal);
        backoff.reset();
        await this.#changedOrHourPassed(signal);
      } catch (error) {
        signal.throwIfAborted();
        log.verbose(1, `could not write the record of this host: ${messageOf(error)}`);
        await clock.sleep(backoff.next(), signal);
      }
    }
  }

  async #changedOrHourPassed(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    try {
      const hour = this.#components.clock.sleep(SEEN_MS, either);
      await orAborted(Promise.race([this.#changed.promise, hour]), signal);
    } finally {
      over.abort();
    }
  }

  async #writeRecord(signal: AbortSignal): Promise<void> {
    const self = this.#components.self();
    const there = await this.#hosts.read(self.id, signal);
    const former = there && parseHost(self.id, there.value);
    const now = this.#components.clock.now();
    const seen = former?.ok ? former.value.seen : undefined;
    // A time that has not come yet is that of a clock that was wrong.
    const isRecent = seen !== undefined && seen <= now && now - seen < SEEN_MS;
    const text = formatHost({ ...self, seen: isRecent ? seen : now }, there?.value);
    if (there?.value === text) return;
    const { outcome } =
      there === undefined
        ? await this.#hosts.create(self.id, text, undefined, signal)
        : await this.#hosts.replace(there, text, undefined, signal);
    if (outcome === 'conflict') this.publish();
  }

  async #keepAlive(signal: AbortSignal): Promise<never> {
    const { clock, log } = this.#components;
    for (;;) {
      await this.#showLife(signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.verbose(1, `could not show that this host lives: ${messageOf(error)}`);
      });
      await clock.sleep(this.#life.renewMs, signal);
    }
  }

  get #life(): (typeof ALIVE)['others'] {
    return this.#alive.api === 'v2' ? ALIVE.v2 : ALIVE.others;
  }

  async #showLife(signal: AbortSignal): Promise<void> {
    const self = this.#components.self();
    const text = formatAlive(self);
    const there = await this.#alive.read(self.id, signal);
    if (there === undefined) {
      await this.#alive.create(self.id, text, this.#life.seconds, signal);
    } else if (there.value !== text || !(await this.#alive.renew(there, this.#life.seconds, signal))) {
      await this.#alive.replace(there, text, this.#life.seconds, signal);
    }
  }
}
