import { messageOf, WeftError } from '#src/lib/errors.ts';
import { openDatabase } from '#src/store/database.ts';
import { KeyTable } from '#src/store/key-table.ts';
import { CHECKSUM_BYTES, isWholeSnapshot } from '#src/store/snapshot-checksum.ts';
import { StoreMeta } from '#src/store/store-meta.ts';
import type { ByteFiles } from '#src/sys/byte-files.ts';
import { secretBytes } from '#src/sys/random.ts';

/**
 * How far ahead a restored store goes on. Clients may have seen revisions after the snapshot; none of them is given
 * out again, as long as fewer were made since. etcd has the same number as a recommendation for `--bump-revision`.
 */
const REVISIONS_AHEAD = 1_000_000_000n;
/** The unit of SQLite's file sizes. What is over it is the checksum. */
const PAGE_UNIT = 512;

export interface Restored {
  readonly keys: bigint;
  readonly revision: bigint;
}

/**
 * Makes a store's file of a snapshot (`etcdctl snapshot save`, or a copy of a store's file). All history is compacted,
 * and the store has a new identity, so that clients that knew the old one list again instead of missing
 * something. Throws {@link WeftError}; then `data` is as it was.
 */
export async function restoreSnapshot(
  { files }: { readonly files: ByteFiles },
  snapshot: string,
  data: string,
): Promise<Restored> {
  if ((await files.size(data)) !== undefined) {
    throw new WeftError('store-restore', `cannot restore into ${data}: the file is there already`, {
      remedy: 'stop the store and move its file and the -wal beside it away, or give another --data',
    });
  }
  const size = await files.size(snapshot).catch((error: unknown) => {
    throw new WeftError('store-restore', `cannot read ${snapshot}: ${messageOf(error)}`);
  });
  if (size === undefined) throw new WeftError('store-restore', `cannot read ${snapshot}: no such file`);
  const length = size % PAGE_UNIT === CHECKSUM_BYTES ? size - CHECKSUM_BYTES : size;
  if (length < size && !(await isWholeSnapshot(files, snapshot, size))) {
    throw new WeftError(
      'store-restore',
      `cannot restore ${snapshot}: its checksum is wrong, so it is damaged or cut off`,
      { remedy: 'restore from another snapshot' },
    );
  }
  const copy = `${data}-restore-${secretBytes(4).toString('hex')}`;
  try {
    await files.write(copy, files.read(snapshot, length));
    const restored = renew(copy);
    // The store of a unit runs as a user of its own.
    await files.giveToFolder(copy);
    await files.move(copy, data);
    return restored;
  } catch (error) {
    if (error instanceof WeftError) throw error;
    throw new WeftError('store-restore', `cannot restore ${snapshot} into ${data}: ${messageOf(error)}`);
  } finally {
    for (const leftover of [copy, `${copy}-wal`]) await files.remove(leftover);
  }
}

function renew(path: string): Restored {
  const db = openDatabase(path);
  try {
    const [check] = Object.values(db.prepare('PRAGMA quick_check(1)').get() ?? {});
    if (check !== 'ok') throw new WeftError('store-restore', `cannot restore this snapshot: ${check}`);
    const [meta, table] = [new StoreMeta(db), new KeyTable(db)];
    const revision = meta.lastRevision(table) + REVISIONS_AHEAD;
    db.exec('BEGIN');
    db.exec('DELETE FROM kv WHERE ended IS NOT NULL');
    for (const [name, value] of [
      ['floor', revision],
      ['compacted', revision],
      ['cluster', randomId()],
      ['member', randomId()],
    ] as const) {
      meta.set(name, value);
    }
    db.exec('COMMIT');
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const everything = { from: Buffer.alloc(0), to: undefined };
    return { keys: table.liveCount(everything), revision };
  } finally {
    db.close();
  }
}

/** The top bit is clear, as SQLite's integers are signed. */
function randomId(): bigint {
  return secretBytes(8).readBigUInt64BE() >> 1n;
}
