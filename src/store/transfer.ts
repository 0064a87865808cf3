import { WeftError } from '#src/lib/errors.ts';

/** A key on its way from one store to another. */
export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
  /** Absent: the key does not end by itself. */
  readonly lease?: {
    /** The same for keys that share a lease; `undefined` where a key has a TTL of its own (etcd v2). */
    readonly id: bigint | undefined;
    /** Seconds left, at least 1. */
    readonly remaining: bigint;
  };
}

/** One end of a transfer: a store, an etcd of either API, or a file. */
export interface TransferEnd {
  /** For messages; never with a password. */
  readonly description: string;
  /** All keys below the prefix, in key order. Keys whose lease is ending just now are left out. */
  read(prefix: string, signal: AbortSignal): Promise<readonly Entry[]>;
  /** Throws when this end cannot hold such keys, before anything is written. */
  check(entries: readonly Entry[]): void;
  /** Writes the entries; a key that is there is replaced only with `overwrite`, and is an error without. */
  write(entries: readonly Entry[], overwrite: boolean, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface TransferOptions {
  /** Empty: everything. */
  readonly prefix: string;
  /** Write into a target that has keys below the prefix. What is only there stays. */
  readonly overwrite: boolean;
  readonly dryRun: boolean;
}

export interface TransferOutcome {
  readonly entries: readonly Entry[];
  /** Keys that the target had below the prefix. */
  readonly found: number;
}

/**
 * Copies the keys below a prefix with the time they have left. Lease ids stay the same where both ends have them, so
 * that who keeps a lease alive can go on doing so at the target. Throws {@link WeftError} when the target is not empty.
 */
export async function transfer(
  source: TransferEnd,
  target: TransferEnd,
  { prefix, overwrite, dryRun }: TransferOptions,
  signal: AbortSignal,
): Promise<TransferOutcome> {
  const entries = await source.read(prefix, signal);
  target.check(entries);
  const found = (await target.read(prefix, signal)).length;
  if (found > 0 && !overwrite) {
    const below = prefix === '' ? '' : ` below ${prefix}`;
    throw new WeftError(
      'store-target',
      `${target.description} is not empty: it has ${found} ${found === 1 ? 'key' : 'keys'}${below}`,
      { remedy: 'give --overwrite to replace what is in both' },
    );
  }
  if (!dryRun) await target.write(entries, overwrite, signal);
  return { entries, found };
}
