import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { KeyValue } from '#src/etcd/rpc.ts';
import { prepare, SUB_BITS } from '#src/store/database.ts';
import type { KeyRange } from '#src/store/key-range.ts';

/** One change of one key, as watchers see it. A deletion's `kv` has only the key and the revision. */
export interface Change {
  readonly kv: KeyValue;
  readonly deleted: boolean;
}

/** The changes of a range in some revisions. */
export interface ChangeWindow {
  readonly changes: Change[];
  /** The first revision that was not looked at. */
  readonly next: bigint;
}

type Row = readonly [id: bigint, Uint8Array, created: bigint, version: bigint, lease: bigint, Uint8Array];

const COLUMNS = 'id, key, created, version, lease, value';
const LIVE = 'ended IS NULL';
const AT_REVISION = 'id < ? AND (ended IS NULL OR ended > ?)';

/** Reads and writes the `kv` table (see database.ts); all SQL about keys is here. */
export class KeyTable {
  readonly #live: RangeStatement;
  readonly #liveCount: RangeStatement;
  readonly #past: RangeStatement;
  readonly #pastCount: RangeStatement;
  readonly #changes: RangeStatement;
  readonly #current: StatementSync;
  readonly #previous: StatementSync;
  readonly #end: StatementSync;
  readonly #insert: StatementSync;
  readonly #leased: StatementSync;
  readonly #history: StatementSync;
  readonly #last: StatementSync;
  readonly #sliceEnd: StatementSync;
  readonly #deleteSlice: StatementSync;

  constructor(db: DatabaseSync) {
    const row = (sql: string): StatementSync => prepareRows(db, sql);
    this.#live = new RangeStatement(
      db,
      `SELECT ${COLUMNS} FROM kv WHERE KEYS AND ${LIVE} ORDER BY key LIMIT ?`,
    );
    this.#liveCount = new RangeStatement(db, `SELECT count(*) FROM kv WHERE KEYS AND ${LIVE}`);
    this.#past = new RangeStatement(
      db,
      `SELECT ${COLUMNS} FROM kv WHERE KEYS AND ${AT_REVISION} ORDER BY key LIMIT ?`,
    );
    this.#pastCount = new RangeStatement(db, `SELECT count(*) FROM kv WHERE KEYS AND ${AT_REVISION}`);
    // NOT INDEXED keeps SQLite on the primary key: a window of history is short, a range of keys may not be.
    this.#changes = new RangeStatement(
      db,
      `SELECT ${COLUMNS} FROM kv NOT INDEXED WHERE KEYS AND id >= ? AND id < ? ORDER BY id`,
    );
    this.#current = row(`SELECT ${COLUMNS} FROM kv WHERE key = ? AND ${LIVE}`);
    this.#previous = row(`SELECT ${COLUMNS} FROM kv WHERE key = ? AND id < ? ORDER BY id DESC LIMIT 1`);
    this.#end = row(`UPDATE kv SET ended = ? WHERE key = ? AND ${LIVE}`);
    this.#insert = row(`INSERT INTO kv (${COLUMNS}, ended) VALUES (?, ?, ?, ?, ?, ?, ?)`);
    this.#leased = row(`SELECT key FROM kv WHERE lease = ? AND lease <> 0 AND ${LIVE} ORDER BY key`);
    this.#history = row(
      `SELECT ${COLUMNS} FROM kv WHERE id >= ? AND id < ? AND (ended IS NULL OR ended > ?) ORDER BY id`,
    );
    this.#last = row('SELECT max(id) FROM kv');
    this.#sliceEnd = row('SELECT id FROM kv WHERE id >= ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?');
    this.#deleteSlice = row('DELETE FROM kv WHERE id >= ? AND id < ? AND ended <= ?');
  }

  /** The range's keys now, in key order; `limit` -1 is all. */
  live(range: KeyRange, limit: bigint): KeyValue[] {
    return keyValues(this.#live.all(range, limit));
  }

  liveCount(range: KeyRange): bigint {
    return scalar(this.#liveCount.all(range)[0]) ?? 0n;
  }

  /** The range's keys as they were at `revision`. */
  past(range: KeyRange, revision: bigint, limit: bigint): KeyValue[] {
    return keyValues(this.#past.all(range, firstId(revision + 1n), revision, limit));
  }

  pastCount(range: KeyRange, revision: bigint): bigint {
    return scalar(this.#pastCount.all(range, firstId(revision + 1n), revision)[0]) ?? 0n;
  }

  current(key: Buffer): KeyValue | undefined {
    const row = this.#current.get(key);
    return row && keyValue(row as unknown as Row);
  }

  /** What the key was just before `revision`; `undefined` when it did not exist then. */
  before(key: Buffer, revision: bigint): KeyValue | undefined {
    const row = this.#previous.get(key, firstId(revision));
    const kv = row && keyValue(row as unknown as Row);
    return kv?.version === 0n ? undefined : kv;
  }

  /**
   * The range's changes of the revisions `first` up to but not including `end`, in order. Ends earlier, after a whole
   * revision, when the values make up `maxBytes`.
   */
  changes(range: KeyRange, first: bigint, end: bigint, maxBytes: number): ChangeWindow {
    const changes: Change[] = [];
    let bytes = 0;
    for (const row of this.#changes.iterate(range, firstId(first), firstId(end))) {
      const kv = keyValue(row as Row);
      const last = changes.at(-1)?.kv.modRevision;
      if (bytes >= maxBytes && last !== kv.modRevision) return { changes, next: kv.modRevision };
      bytes += kv.key.length + kv.value.length;
      changes.push({ kv, deleted: kv.version === 0n });
    }
    return { changes, next: end };
  }

  /** Writes one change as the `sub`th of its revision, `kv.modRevision`, and ends what the key was. */
  write({ kv, deleted }: Change, sub: number): void {
    if (kv.version !== 1n) this.#end.run(kv.modRevision, kv.key);
    const id = firstId(kv.modRevision) + BigInt(sub);
    const ended = deleted ? kv.modRevision : null;
    this.#insert.run(id, kv.key, kv.createRevision, kv.version, kv.lease, kv.value, ended);
  }

  /**
   * The next rows of history from row `from` on, of revisions up to `last`, some `maxBytes` of them, each as bytes; without
   * those that a compaction at `compacted` takes. `next`: where to go on, absent at the end.
   */
  historySlice(
    from: bigint,
    last: bigint,
    compacted: bigint,
    maxBytes: number,
  ): { readonly rows: Buffer[]; readonly next: bigint | undefined } {
    const rows: Buffer[] = [];
    let bytes = 0;
    for (const row of this.#history.iterate(from, firstId(last + 1n), compacted)) {
      const [id, key, created, version, lease, value] = row as unknown as Row;
      if (bytes >= maxBytes) return { rows, next: id };
      const numbers = Buffer.alloc(36);
      for (const [index, number] of [id, created, version, lease].entries()) {
        numbers.writeBigInt64BE(number, index * 8);
      }
      numbers.writeUInt32BE(key.length, 32);
      rows.push(Buffer.concat([numbers, key, value]));
      bytes += rows.at(-1)?.length ?? 0;
    }
    return { rows, next: undefined };
  }

  keysOfLease(lease: bigint): Buffer[] {
    return this.#leased.all(lease).map((row) => toBuffer((row as unknown as [Uint8Array])[0]));
  }

  /** The revision of the last change; 1, as a new etcd has it, when nothing was ever written. */
  lastRevision(): bigint {
    const id = scalar(this.#last.get());
    return id === undefined ? 1n : id >> SUB_BITS;
  }

  /**
   * Takes what was over at `revision` from the next `rows` rows of history, starting with row `from`.
   * Returns where the next slice starts, or `undefined` after the last one. Rows of `revision` itself stay, so
   * that a watch may still start there.
   */
  compactSlice(from: bigint, revision: bigint, rows: number): bigint | undefined {
    const end = firstId(revision);
    const next = scalar(this.#sliceEnd.get(from, end, rows));
    this.#deleteSlice.run(from, next ?? end, revision);
    return next;
  }
}

/** A statement about a range of keys, in the two forms a range has. `KEYS` in its text stands for the range. */
class RangeStatement {
  readonly #bounded: StatementSync;
  readonly #unbounded: StatementSync;

  constructor(db: DatabaseSync, sql: string) {
    this.#bounded = prepareRows(db, sql.replace('KEYS', 'key >= ? AND key < ?'));
    this.#unbounded = prepareRows(db, sql.replace('KEYS', 'key >= ?'));
  }

  all({ from, to }: KeyRange, ...parameters: bigint[]): unknown[] {
    return to === undefined
      ? this.#unbounded.all(from, ...parameters)
      : this.#bounded.all(from, to, ...parameters);
  }

  /** Row by row, for a reader that may stop early. */
  iterate({ from, to }: KeyRange, ...parameters: bigint[]): Iterable<unknown> {
    return to === undefined
      ? this.#unbounded.iterate(from, ...parameters)
      : this.#bounded.iterate(from, to, ...parameters);
  }
}

function prepareRows(db: DatabaseSync, sql: string): StatementSync {
  const statement = prepare(db, sql);
  statement.setReturnArrays(true);
  return statement;
}

function firstId(revision: bigint): bigint {
  return revision << SUB_BITS;
}

/** Rows come as arrays of the {@link COLUMNS} in their order, which node's types do not know. */
function keyValues(rows: readonly unknown[]): KeyValue[] {
  return rows.map((row) => keyValue(row as Row));
}

function keyValue([id, key, createRevision, version, lease, value]: Row): KeyValue {
  const modRevision = id >> SUB_BITS;
  return { key: toBuffer(key), createRevision, modRevision, version, value: toBuffer(value), lease };
}

function scalar(row: unknown): bigint | undefined {
  return (row as [bigint | null] | undefined)?.[0] ?? undefined;
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
