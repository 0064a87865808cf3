import type { Expiry } from '#src/network/lease.ts';

/**
 * The records of one folder of keys: one interface over etcd v2, etcd v3 and memory. It deals in records as they are
 * stored, text for text; others read and judge them, so that one hostile value is a value to refuse and never an error of
 * the registry. Every write is guarded by what was read: there is no unconditional put.
 *
 * Every call takes a signal, has a deadline of its own, fails over between endpoints, and throws
 * {@link RegistryError} when no endpoint gave an answer. A write that threw may have happened: read again.
 */
export interface Records {
  readonly api: 'v2' | 'v3' | 'memory';
  /** For the log: the API and the endpoints, never a password. */
  readonly description: string;

  /** All records, consistent as of `revision`. No such folder is an empty list. */
  list(signal: AbortSignal): Promise<Snapshot>;

  /** One record by name, or `undefined`. */
  read(name: string, signal: AbortSignal): Promise<LeaseRecord | undefined>;

  /** Creates the record if no such key exists. `ttlSeconds` undefined creates a reservation, which has no end. */
  create(
    name: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome>;

  /** Replaces the record if it is still at `previous.revision`. `ttlSeconds` undefined makes it a reservation. */
  replace(
    previous: LeaseRecord,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome>;

  /**
   * Makes the lease that the record hangs on live for `ttlSeconds` from now. Nothing is written: nobody sees a change, and
   * a store that refuses writes does it all the same (etcd's NOSPACE alarm). It says nothing of the key, which may have
   * been written by somebody else. False where this needs a write: a reservation, a lease that has ended or has another
   * TTL, and a store that can't do it (v2).
   */
  renew(record: LeaseRecord, ttlSeconds: number, signal: AbortSignal): Promise<boolean>;

  /** Removes the record if it is still at `previous.revision`. True when it is gone by our hand, false when it had changed or was gone. */
  remove(previous: LeaseRecord, signal: AbortSignal): Promise<boolean>;

  /**
   * Events after `revision`, in order, each batch as the store delivered it. Ends by throwing: the signal's reason,
   * {@link CompactedError} when events were lost (list again and watch from there), or {@link RegistryError}.
   * The caller resumes from the last batch's revision.
   */
  watch(revision: bigint, signal: AbortSignal): AsyncIterable<WatchBatch>;

  /** When the record's lease ends, in milliseconds since the epoch; `undefined` for a reservation or a lease that is gone. */
  expiryOf(record: LeaseRecord, signal: AbortSignal): Promise<number | undefined>;

  close(): Promise<void>;
}

/**
 * Folders below a prefix over one connection. Tenants have `tenants/networks`, `tenants/vnis`, `tenants/hosts`,
 * `tenants/alive` and `tenants/addresses/NAME`.
 */
export interface RecordFolders {
  readonly api: 'v2' | 'v3' | 'memory';
  /** For the log: the API and the endpoints, never a password. */
  readonly description: string;

  /** The records of a folder; closing them leaves the others open. A folder in it is part of it: its names have a slash. */
  folder(path: string): Records;

  /** The host has another address: what was connected from the old one gets no answers and is not used again. */
  reconnect(): void;

  close(): Promise<void>;
}

export interface LeaseRecord {
  /** The key below the folder: `10.0.65.0-24`. A key that only begins like the folder is not listed. */
  readonly name: string;
  readonly value: string;
  /** The revision of the key's last change: v3 mod revision, v2 modifiedIndex. */
  readonly revision: bigint;
  /** The revision that created the key, which replacing it leaves as it is (v3 create revision, v2 createdIndex). */
  readonly created?: bigint;
  readonly expiry: Expiry;
}

export interface Snapshot {
  readonly records: readonly LeaseRecord[];
  /** The store's revision (v3) or index (v2) the list is true at; watch from here. */
  readonly revision: bigint;
}

export type WriteOutcome =
  | { readonly outcome: 'written'; readonly record: LeaseRecord }
  /** Somebody else was first: the key exists, has another revision, or is gone. */
  | { readonly outcome: 'conflict' };

export type WatchEvent =
  | { readonly type: 'put'; readonly record: LeaseRecord }
  | { readonly type: 'removed'; readonly name: string };

export interface WatchBatch {
  /** Empty for a progress mark: nothing happened, but the registry is certain up to `revision`. */
  readonly events: readonly WatchEvent[];
  readonly revision: bigint;
}
