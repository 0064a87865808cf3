import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { WeftError } from '#src/lib/errors.ts';
import { STORE_FORMAT } from '#src/store/store-format.ts';
import { secretBytes } from '#src/sys/random.ts';

/** "weft" in ASCII, in SQLite's header: what sets our file apart from any other database. */
const APPLICATION_ID = 0x77656674;
const SQLITE_FULL = 13;
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_NOTADB = 26;

/**
 * One row of `kv` is one change of one key, and is kept until compaction takes it.
 *
 * - `id` is the change's place in history: the main revision in the upper bits, its order within that revision in
 *   the lower {@link SUB_BITS}. Rows are stored in this order, so replaying a watch is a scan.
 * - `version` 0 is a deletion (its `created` and `lease` are 0, its value empty).
 * - `ended` is the main revision at which the next change of the key took this row's place, or, for a deletion, its
 *   own. NULL: the row is the key's value now. The key space at revision R is what began at R or before and has not ended by R.
 *
 * The current revision is not stored: it is the last row's, and compaction never takes that row.
 */
const SCHEMA = `
  CREATE TABLE kv (
    id      INTEGER PRIMARY KEY,
    mod     INTEGER GENERATED ALWAYS AS (id >> 20) VIRTUAL,
    key     BLOB NOT NULL,
    created INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    value   BLOB NOT NULL,
    ended   INTEGER
  );
  CREATE INDEX kv_key ON kv (key);
  CREATE UNIQUE INDEX kv_live ON kv (key) WHERE ended IS NULL;
  CREATE INDEX kv_leased ON kv (lease, key) WHERE ended IS NULL AND lease <> 0;
  CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);
  CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
`;

/** A revision holds at most 2^20 changes, and there are 2^43 revisions. */
export const SUB_BITS = 20n;

/**
 * Opens the store's file, or makes a new one, and holds it: a second store on the same file is refused. Every commit
 * is on the disk (fsync of the write-ahead log) before it is acknowledged. Throws {@link WeftError} with the reason.
 */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    // Exclusive mode keeps the file lock until close, and needs no shared-memory file beside it.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE; COMMIT');
    claim(db, path);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; COMMIT');
    return db;
  } catch (error) {
    db?.close();
    throw error instanceof WeftError ? error : openError(path, error);
  }
}

/**
 * Every statement is prepared with this: our integers do not fit a number. That goes for statements that return no
 * rows as well, since node reads back the connection's last row id after each, and that may be a lease's id.
 */
export function prepare(db: DatabaseSync, sql: string): StatementSync {
  const statement = db.prepare(sql);
  statement.setReadBigInts(true);
  return statement;
}

function claim(db: DatabaseSync, path: string): void {
  const applicationId = pragma(db, 'application_id');
  if (applicationId === 0 && db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined) {
    db.exec(`BEGIN; ${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${STORE_FORMAT};
      INSERT INTO meta VALUES ('compacted', -1), ('term', 0), ('cluster', ${randomId()}), ('member', ${randomId()});
      COMMIT`);
    return;
  }
  if (applicationId !== APPLICATION_ID) throw notOurs(path);
  const version = pragma(db, 'user_version');
  if (version === STORE_FORMAT) return;
  throw new WeftError(
    'store-version',
    `cannot open ${path}: it was written by another version of weft (format ${version}, this one reads ${STORE_FORMAT})`,
    { remedy: 'start the store with the weft that wrote it' },
  );
}

function pragma(db: DatabaseSync, name: string): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}

/** etcd's ids are unsigned 64-bit; ours keep the top bit clear, as SQLite's integers are signed. */
function randomId(): bigint {
  return secretBytes(8).readBigUInt64BE() >> 1n;
}

function notOurs(path: string): WeftError {
  return new WeftError('store-not-ours', `cannot open ${path}: it is not a weft store`, {
    remedy: 'give another file with --data',
  });
}

/** SQLite's own result code of a thrown value, without its extended bits; 0 when it is no SQLite error. */
function sqliteCode(error: unknown): number {
  const { errcode } = error as { errcode?: number };
  return typeof errcode === 'number' ? errcode & 0xff : 0;
}

/**
 * Results that are about the one statement, not about the file: SQLITE_ERROR, TOOBIG, CONSTRAINT, MISMATCH, MISUSE and
 * RANGE (sqlite3.h). All others leave open what the file holds.
 */
const STATEMENT_FAILURES = new Set([0, 1, 18, 19, 20, 21, 25]);

export function isDiskFailure(error: unknown): boolean {
  return !STATEMENT_FAILURES.has(sqliteCode(error));
}

export function isDiskFull(error: unknown): boolean {
  return sqliteCode(error) === SQLITE_FULL;
}

function openError(path: string, cause: unknown): WeftError {
  const code = sqliteCode(cause);
  if (code === SQLITE_NOTADB) return notOurs(path);
  if (code === SQLITE_BUSY) {
    return new WeftError('store-locked', `cannot open ${path}: another process has it open`, {
      remedy: 'stop the store that is running on it, or give another file with --data',
      cause,
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (code === SQLITE_IOERR || code === SQLITE_READONLY) {
    return new WeftError('store-disk', `cannot open ${path}: its disk does not take writes (${reason})`, {
      remedy: 'look for the disk in dmesg; where it is mounted read-only, repair it and mount it again',
      cause,
    });
  }
  return new WeftError('store-open', `cannot open ${path}: ${reason}`, {
    remedy: 'check that the folder exists and that this user may write there',
    cause,
  });
}
