import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepare } from '#src/store/database.ts';
import type { KeyTable } from '#src/store/key-table.ts';

/**
 * - `compacted`: history before this revision is gone.
 * - `term`: the starts of the store.
 * - `cluster`, `member`: its ids.
 * - `floor`: the revision that a restored store goes on from, as long as it has written nothing.
 */
export type MetaName = 'compacted' | 'term' | 'cluster' | 'member' | 'floor';

/** The numbers that the file keeps beside keys and leases. */
export class StoreMeta {
  readonly #get: StatementSync;
  readonly #set: StatementSync;

  constructor(db: DatabaseSync) {
    this.#get = prepare(db, 'SELECT value FROM meta WHERE name = ?');
    this.#set = prepare(db, 'INSERT OR REPLACE INTO meta VALUES (?, ?)');
  }

  /** 0 for a number that the file does not have. */
  get(name: MetaName): bigint {
    return (this.#get.get(name) as { value: bigint } | undefined)?.value ?? 0n;
  }

  set(name: MetaName, value: bigint): void {
    this.#set.run(name, value);
  }

  /** The revision of the last write. A restored store goes on at one that was never given out. */
  lastRevision(table: KeyTable): bigint {
    const last = table.lastRevision();
    const restored = this.get('floor');
    if (last > restored) return last;
    return restored;
  }
}
