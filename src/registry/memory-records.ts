import { CompactedError } from '#src/registry/errors.ts';
import type {
  LeaseRecord,
  Records,
  Snapshot,
  WatchBatch,
  WatchEvent,
  WriteOutcome,
} from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';

/** The count of all changes of one store, which its folders share. */
export interface MemoryRevision {
  value: bigint;
}

export interface MemoryRecordsComponents {
  readonly clock: Clock;
  /** Default: one of its own. */
  readonly revision?: MemoryRevision;
}

interface Change {
  readonly event: WatchEvent;
  readonly revision: bigint;
}

/**
 * Records within the process: the same answers as etcd's, with the clock's time. Expired records go when they are next
 * looked at, and at once while somebody watches.
 */
export class MemoryRecords implements Records {
  readonly api = 'memory';
  readonly description: string = 'memory';
  readonly #clock: Clock;
  readonly #revision: MemoryRevision;
  readonly #records = new Map<string, LeaseRecord>();
  /** The TTL that each lease was written with, in seconds. */
  readonly #granted = new Map<string, number>();
  readonly #changed = new Set<() => void>();
  #changes: Change[] = [];
  /** Changes up to here are forgotten. */
  #compacted = 0n;

  constructor({ clock, revision = { value: 1n } }: MemoryRecordsComponents) {
    this.#clock = clock;
    this.#revision = revision;
  }

  /** Forgets all events so far, as etcd's compaction does: a watch from before throws CompactedError. */
  compact(): void {
    this.#compacted = this.#revision.value;
    this.#changes = [];
  }

  async list(signal: AbortSignal): Promise<Snapshot> {
    this.#enter(signal);
    return { records: [...this.#records.values()], revision: this.#revision.value };
  }

  async read(name: string, signal: AbortSignal): Promise<LeaseRecord | undefined> {
    this.#enter(signal);
    return this.#records.get(name);
  }

  async create(
    name: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    this.#enter(signal);
    if (this.#records.has(name)) return { outcome: 'conflict' };
    return this.#put(name, value, ttlSeconds);
  }

  async replace(
    previous: LeaseRecord,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    this.#enter(signal);
    if (!this.#isCurrent(previous)) return { outcome: 'conflict' };
    return this.#put(previous.name, value, ttlSeconds);
  }

  async renew(record: LeaseRecord, ttlSeconds: number, signal: AbortSignal): Promise<boolean> {
    this.#enter(signal);
    const found = this.#records.get(record.name);
    if (found?.revision !== record.revision || this.#granted.get(record.name) !== ttlSeconds) return false;
    const at = this.#clock.now() + ttlSeconds * 1_000;
    this.#records.set(record.name, { ...found, expiry: { kind: 'expires', at } });
    return true;
  }

  async remove(previous: LeaseRecord, signal: AbortSignal): Promise<boolean> {
    this.#enter(signal);
    if (!this.#isCurrent(previous)) return false;
    this.#delete(previous.name);
    return true;
  }

  async *watch(revision: bigint, signal: AbortSignal): AsyncGenerator<WatchBatch, void> {
    let delivered = revision;
    for (;;) {
      this.#enter(signal);
      if (delivered < this.#compacted || delivered > this.#revision.value) {
        throw new CompactedError(`memory has no events since revision ${delivered}`);
      }
      const changes = this.#changes.filter((change) => change.revision > delivered);
      // Before the caller gets a turn: what changes meanwhile must wake the next wait.
      const change = Promise.withResolvers<void>();
      this.#changed.add(change.resolve);
      try {
        delivered = this.#revision.value;
        yield { events: changes.map(({ event }) => event), revision: delivered };
        if (this.#revision.value === delivered) await this.#changeOrExpiry(change.promise, signal);
      } finally {
        this.#changed.delete(change.resolve);
      }
    }
  }

  async expiryOf({ name }: LeaseRecord, signal: AbortSignal): Promise<number | undefined> {
    const expiry = (await this.read(name, signal))?.expiry;
    return expiry?.kind === 'expires' ? expiry.at : undefined;
  }

  async close(): Promise<void> {}

  #enter(signal: AbortSignal): void {
    signal.throwIfAborted();
    const now = this.#clock.now();
    for (const name of this.#granted.keys()) if (this.#endOf(name) <= now) this.#delete(name);
  }

  #isCurrent(previous: LeaseRecord): boolean {
    return this.#records.get(previous.name)?.revision === previous.revision;
  }

  #put(name: string, value: string, ttlSeconds: number | undefined): WriteOutcome {
    const expiry: LeaseRecord['expiry'] =
      ttlSeconds === undefined
        ? { kind: 'reservation' }
        : { kind: 'expires', at: this.#clock.now() + ttlSeconds * 1_000 };
    const revision = this.#revision.value + 1n;
    const record = { name, value, revision, created: this.#records.get(name)?.created ?? revision, expiry };
    this.#records.set(name, record);
    if (ttlSeconds === undefined) this.#granted.delete(name);
    else this.#granted.set(name, ttlSeconds);
    this.#change({ type: 'put', record });
    return { outcome: 'written', record };
  }

  #delete(name: string): void {
    this.#records.delete(name);
    this.#granted.delete(name);
    this.#change({ type: 'removed', name });
  }

  #change(event: WatchEvent): void {
    this.#revision.value++;
    this.#changes.push({ event, revision: this.#revision.value });
    for (const wake of this.#changed) wake();
  }

  /** When the record ends, in milliseconds since the epoch. */
  #endOf(name: string): number {
    const expiry = this.#records.get(name)?.expiry;
    return expiry?.kind === 'expires' ? expiry.at : Infinity;
  }

  async #changeOrExpiry(change: Promise<void>, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const ends = this.#granted.keys().reduce((first, name) => Math.min(first, this.#endOf(name)), Infinity);
    // Without anything to expire a day is as good as for ever, and within what a timer can count.
    const wait = Math.min(86_400_000, Math.max(0, ends - this.#clock.now()));
    try {
      await Promise.race([change, this.#clock.sleep(wait, either)]);
    } finally {
      ended.abort();
    }
  }
}
