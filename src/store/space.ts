import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { RequestOp, TxnRequest } from '#src/etcd/rpc.ts';
import { prepare } from '#src/store/database.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import type { DiskReserve } from '#src/sys/disk-reserve.ts';

/** etcd's own estimate of what a write takes beside its key and value (storage/quota.go). */
const WRITE_OVERHEAD = 256;
const LEASE_BYTES = 64;

export interface SpaceComponents {
  readonly db: DatabaseSync;
  /** Room for deletions and compactions when the disk is full. */
  readonly reserve: DiskReserve;
}

export interface SpaceOptions {
  /** Bytes that keys, their history and leases may take. */
  readonly quota: bigint;
}

/** Why nothing more is taken: the quota was reached, or the disk was full. */
type Cause = 'quota' | 'disk';

/**
 * Watches over the room for data, and raises NOSPACE as etcd does. While it is raised, writes that need room are
 * refused, and what makes room passes: deletions, compaction, the end of leases. The alarm of the quota is disarmed by
 * hand, as etcd's is; that of a full disk ends when there is room again.
 */
export class Space {
  readonly #reserve: DiskReserve;
  readonly #quota: bigint;
  readonly #pages: StatementSync;
  readonly #free: StatementSync;
  readonly #pageSize: bigint;
  readonly #save: StatementSync;
  #cause: Cause | undefined;
  /** What the file says of the alarm. */
  #saved: boolean;
  /** Bytes in use, as of the last commit, and what was admitted since. */
  #used = 0n;

  constructor({ db, reserve }: SpaceComponents, { quota }: SpaceOptions) {
    this.#reserve = reserve;
    this.#quota = quota;
    this.#pages = pragma(db, 'page_count');
    this.#free = pragma(db, 'freelist_count');
    this.#pageSize = numberOf(pragma(db, 'page_size'));
    this.#save = prepare(db, "INSERT OR REPLACE INTO meta VALUES ('nospace', ?)");
    const saved = prepare(db, "SELECT value FROM meta WHERE name = 'nospace' AND value <> 0").get();
    this.#saved = saved !== undefined;
    if (this.#saved) this.#cause = 'quota';
    this.#used = this.size.used;
    this.#reserve.hold();
  }

  get alarmed(): boolean {
    return this.#cause !== undefined;
  }

  /** Bytes of the file, and the part of it in use. */
  get size(): { readonly total: bigint; readonly used: bigint } {
    const pages = numberOf(this.#pages);
    return { total: pages * this.#pageSize, used: (pages - numberOf(this.#free)) * this.#pageSize };
  }

  /** Throws when there is no room for a write of so many bytes in keys and values. 0 needs none. Inside a transaction. */
  admit(bytes: number): void {
    if (bytes === 0) return;
    if (this.#cause === undefined && this.#used + BigInt(bytes) >= this.#quota) this.raise();
    if (this.#cause !== undefined) throw etcdError('noSpace');
    this.#used += BigInt(bytes);
  }

  /** After each commit: looks again at how much is used, and writes down what became of the quota's alarm. */
  committed(): void {
    this.#used = this.size.used;
    this.#remember();
  }

  /** Raises the alarm of the quota, as by hand. It outlasts a restart. */
  raise(): void {
    this.#cause = 'quota';
  }

  /** True when there was an alarm. Where there is no room still, the next write raises it again. */
  disarm(): boolean {
    const was = this.alarmed;
    this.#cause = undefined;
    this.#remember();
    this.#reserve.hold();
    return was;
  }

  /** A write found the disk full. True: there is some room now for what frees more. */
  diskFull(): boolean {
    this.#cause ??= 'disk';
    return this.#reserve.release();
  }

  /** To be called every few seconds: takes the reserve again, and with it ends the alarm of a full disk. */
  tick(): void {
    if (this.#cause === 'disk' && this.#reserve.hold()) this.#cause = undefined;
  }

  /** Outside of the transaction that met the quota, which is undone. */
  #remember(): void {
    const raised = this.#cause === 'quota';
    if (raised === this.#saved) return;
    try {
      this.#save.run(raised ? 1n : 0n);
      this.#saved = raised;
    } catch {
      // Where it can't be written, the next commit tries again.
    }
  }
}

/** Bytes that a put takes. */
export function putBytes({ key, value }: { readonly key: Buffer; readonly value: Buffer }): number {
  return WRITE_OVERHEAD + key.length + value.length;
}

/** Bytes that a txn takes: those of its larger branch. A txn without puts takes none. */
export function txnBytes({ success, failure }: TxnRequest): number {
  const branch = (ops: readonly RequestOp[]): number =>
    ops.reduce((sum, { request }) => {
      if (request?.$case === 'requestPut') return sum + putBytes(request.requestPut);
      return request?.$case === 'requestTxn' ? sum + txnBytes(request.requestTxn) : sum;
    }, 0);
  return Math.max(branch(success), branch(failure));
}

export const LEASE_WRITE_BYTES = WRITE_OVERHEAD + LEASE_BYTES;

function pragma(db: DatabaseSync, name: string): StatementSync {
  const statement = prepare(db, `PRAGMA ${name}`);
  statement.setReturnArrays(true);
  return statement;
}

function numberOf(statement: StatementSync): bigint {
  return (statement.get() as unknown as [bigint])[0];
}
