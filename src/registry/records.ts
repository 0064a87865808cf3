import type { LeaseRecord, Snapshot, WatchBatch, WriteOutcome } from '#src/registry/registry.ts';

/**
 * The records of one folder of keys, text for text: the part of {@link Registry} that is not about leases. Names have no
 * slash. Every write is guarded by what was read. Calls take a signal, have a deadline of their own, and throw
 * RegistryError when no endpoint gave an answer; a write that threw may have happened.
 */
export interface Records {
  readonly api: 'v2' | 'v3' | 'memory';
  /** For the log: the API, the endpoints and the folder, never a password. */
  readonly description: string;

  /** All records, consistent as of `revision`. No such folder is an empty list. */
  list(signal: AbortSignal): Promise<Snapshot>;

  read(name: string, signal: AbortSignal): Promise<LeaseRecord | undefined>;

  /** Creates the record if no such key exists. With `ttlSeconds` it ends by itself. */
  create(
    name: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome>;

  /** Replaces the record if it is still at `previous.revision`. */
  replace(
    previous: LeaseRecord,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome>;

  /** Makes a record with a TTL live for `ttlSeconds` from now without a write; false where that needs one. */
  renew(record: LeaseRecord, ttlSeconds: number, signal: AbortSignal): Promise<boolean>;

  /** Removes the record if it is still at `previous.revision`. True when it is gone by our hand. */
  remove(previous: LeaseRecord, signal: AbortSignal): Promise<boolean>;

  /** Events after `revision`, in order; see `Registry.watch`. */
  watch(revision: bigint, signal: AbortSignal): AsyncIterable<WatchBatch>;

  /** When the record ends, in milliseconds since the epoch; `undefined` without a TTL, and when it has ended. */
  expiryOf(record: LeaseRecord, signal: AbortSignal): Promise<number | undefined>;

  close(): Promise<void>;
}

/**
 * Folders below a prefix over one connection. Tenants have `tenants/networks`, `tenants/vnis`, `tenants/hosts`,
 * `tenants/alive` and `tenants/addresses/NAME`.
 */
export interface RecordFolders {
  readonly api: 'v2' | 'v3' | 'memory';
  readonly description: string;
  /** The records of a folder; closing them leaves the others open. */
  folder(path: string): Records;
  close(): Promise<void>;
}
