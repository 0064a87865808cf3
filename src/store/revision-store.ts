import type { DatabaseSync } from 'node:sqlite';
import type {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  ResponseHeader,
  TxnRequest,
  TxnResponse,
} from '#src/etcd/rpc.ts';
import { isDiskFull } from '#src/store/database.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';
import { GroupCommit } from '#src/store/group-commit.ts';
import type { KeyRange } from '#src/store/key-range.ts';
import { type Change, type ChangeWindow, KeyTable } from '#src/store/key-table.ts';
import { LeaseTable } from '#src/store/lease-table.ts';
import { queryRange } from '#src/store/range-query.ts';
import { checkKey, checkPut, checkTxn } from '#src/store/request-check.ts';
import { LEASE_WRITE_BYTES, putBytes, type Space, txnBytes } from '#src/store/space.ts';
import { StoreIdentity } from '#src/store/store-identity.ts';
import { StoreMeta } from '#src/store/store-meta.ts';
import { Write } from '#src/store/write.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Rows of history that one slice of a compaction looks at: a few milliseconds. */
const COMPACTION_SLICE = 2000;

export interface RevisionStoreComponents {
  /** From {@link openDatabase}; the store closes it. */
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly space: Space;
  /** Called with an error of ours that failed one write, and no other. */
  readonly failed: (error: unknown) => void;
  /** Called once when the disk failed; the store refuses every write from then on. */
  readonly fatal: (error: unknown) => void;
}

export interface RevisionStoreOptions {
  /** Operations in a txn; etcd's default for `--max-txn-ops` when absent. */
  readonly maxTxnOps?: number | undefined;
}

const MAX_TXN_OPS = 128;

/** The changes of one commit, which may be several revisions, up to and with `revision`. */
export type CommitListener = (changes: readonly Change[], revision: bigint) => void;

/**
 * etcd's key-value space with its history and leases, on SQLite. Requests and answers are etcd's messages, and
 * refusals are {@link EtcdError}. A write resolves when it is on the disk; a read sees everything acknowledged.
 */
export class RevisionStore {
  readonly #db: DatabaseSync;
  readonly #space: Space;
  readonly #maxTxnOps: number;
  readonly #meta: StoreMeta;
  readonly #table: KeyTable;
  readonly #leases: LeaseTable;
  readonly #commits: GroupCommit;
  readonly #listeners = new Set<CommitListener>();
  readonly #identity: StoreIdentity;
  #revision: bigint;
  #compacted: bigint;
  /** Of the transaction under way. */
  #changes: Change[] = [];

  constructor(
    { db, clock, space, failed, fatal }: RevisionStoreComponents,
    { maxTxnOps = MAX_TXN_OPS }: RevisionStoreOptions = {},
  ) {
    this.#maxTxnOps = maxTxnOps;
    this.#db = db;
    this.#meta = new StoreMeta(db);
    this.#table = new KeyTable(db);
    this.#leases = new LeaseTable(db, clock);
    this.#space = space;
    this.#identity = new StoreIdentity({ meta: this.#meta, space });
    this.#revision = this.#meta.lastRevision(this.#table);
    this.#compacted = this.#meta.get('compacted');
    this.#commits = new GroupCommit(db, {
      committed: () => this.#committed(),
      mark: () => this.#mark(),
      rolledBack: () => this.#rolledBack(),
      full: () => space.diskFull(),
      failed,
      fatal,
    });
    // A compaction that the last run did not finish.
    if (this.#compacted > 0n) this.#removeCompacted(this.#compacted).catch(() => {});
  }

  /** The last acknowledged revision. */
  get revision(): bigint {
    return this.#revision;
  }

  /** History before this revision is gone. */
  get compacted(): bigint {
    return this.#compacted;
  }

  header(revision: bigint = this.#revision): ResponseHeader {
    return this.#identity.header(revision);
  }

  get space(): Space {
    return this.#space;
  }

  /** Calls `listener` at every commit, in order, before its writes are acknowledged. Returns what ends that. */
  subscribe(listener: CommitListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** See {@link KeyTable.changes}. */
  changes(range: KeyRange, first: bigint, end: bigint, maxBytes = Number.POSITIVE_INFINITY): ChangeWindow {
    return this.#table.changes(range, first, end, maxBytes);
  }

  /** See {@link KeyTable.historySlice}. */
  historySlice(from: bigint, last: bigint, maxBytes: number) {
    return this.#table.historySlice(from, last, this.#compacted, maxBytes);
  }

  /** Gives free pages back to the disk. Nothing else is answered meanwhile, as at etcd. */
  defragment(): void {
    try {
      this.#db.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)');
    } catch (error) {
      throw isDiskFull(error) ? etcdError('noSpace') : error;
    }
    this.#space.committed();
  }

  /** What the changed key was before, if history still knows. */
  previousOf({ kv }: Change) {
    return kv.modRevision - 1n < this.#compacted ? undefined : this.#table.before(kv.key, kv.modRevision);
  }

  range(request: RangeRequest): RangeResponse {
    checkKey(request);
    const view = { revision: this.#revision, compacted: this.#compacted };
    return { header: this.header(), ...queryRange(this.#table, view, request) };
  }

  async put(request: PutRequest): Promise<PutResponse> {
    checkPut(request);
    return this.#write((write) => {
      this.#space.admit(putBytes(request));
      return write.put(request);
    });
  }

  async deleteRange(request: DeleteRangeRequest): Promise<DeleteRangeResponse> {
    checkKey(request);
    return this.#write((write) => write.deleteRange(request));
  }

  async txn(request: TxnRequest): Promise<TxnResponse> {
    checkTxn(request, this.#maxTxnOps);
    return this.#write((write) => {
      this.#space.admit(txnBytes(request));
      return write.txn(request);
    });
  }

  /** Resolves when the revision is refused to readers; with `physical`, when its rows are gone too. */
  async compact({ revision, physical }: CompactionRequest): Promise<CompactionResponse> {
    await this.#commits.submit(() => {
      if (revision <= this.#compacted) throw etcdError('compacted');
      if (revision > this.#revision) throw etcdError('futureRevision');
      this.#meta.set('compacted', revision);
      this.#compacted = revision;
    });
    const removed = this.#removeCompacted(revision);
    if (physical) await removed;
    // Whatever stays behind, the next start takes.
    else removed.catch(() => {});
    return { header: this.header() };
  }

  async leaseGrant({ ID, TTL }: LeaseGrantRequest): Promise<LeaseGrantResponse> {
    const lease = await this.#commits.submit(() => {
      this.#space.admit(LEASE_WRITE_BYTES);
      return this.#leases.grant(ID, TTL);
    });
    return { header: this.header(), ID: lease.id, TTL: lease.ttl, error: '' };
  }

  async leaseRevoke({ ID }: { readonly ID: bigint }): Promise<LeaseRevokeResponse> {
    return this.#write((write) => {
      write.revoke(ID);
      return { header: this.header(write.revision) };
    });
  }

  /** The lease's TTL, which it has again in full; 0 when there is no such lease. */
  leaseKeepAlive(id: bigint): bigint {
    return this.#leases.renew(id) ?? 0n;
  }

  leaseTimeToLive({ ID, keys }: LeaseTimeToLiveRequest): LeaseTimeToLiveResponse {
    const lease = this.#leases.timeToLive(ID);
    return {
      header: this.header(),
      ID,
      TTL: lease?.remaining ?? -1n,
      grantedTTL: lease?.granted ?? 0n,
      keys: keys && lease !== undefined ? this.#table.keysOfLease(ID) : [],
    };
  }

  /** All leases, the one that ends first first. */
  leaseIds(): bigint[] {
    return this.#leases.ids();
  }

  /** Revokes every lease that has ended, each in a revision of its own. To be called about twice a second. */
  async revokeExpired(): Promise<void> {
    const revoked = this.#leases.expired().map((id) =>
      this.#write((write) => {
        // A revocation by a client may have come first in the same turn.
        if (this.#leases.has(id)) write.revoke(id);
        return { header: undefined };
      }),
    );
    // What is refused now, such as on a full disk, is tried again next time.
    const outcomes = await Promise.allSettled(revoked);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected' && !(outcome.reason instanceof EtcdError)) throw outcome.reason;
    }
  }

  /** Acknowledges what is under way, refuses the rest and closes the file. */
  close(): void {
    this.#commits.stop();
    this.#listeners.clear();
    this.#db.close();
  }

  #write<Response extends { header: ResponseHeader | undefined }>(
    work: (write: Write) => Response,
  ): Promise<Response> {
    return this.#commits.submit(() => {
      const view = { revision: this.#revision, compacted: this.#compacted };
      const write = new Write(this.#table, this.#leases, view);
      const response = work(write);
      this.#revision = write.revision;
      this.#changes.push(...write.changes);
      return { ...response, header: this.header(write.revision) };
    });
  }

  #mark(): () => void {
    const [revision, compacted, changes] = [this.#revision, this.#compacted, this.#changes.length];
    const restoreLeases = this.#leases.mark();
    return () => {
      this.#revision = revision;
      this.#compacted = compacted;
      this.#changes.length = changes;
      restoreLeases();
    };
  }

  #committed(): void {
    this.#leases.committed();
    this.#space.committed();
    const changes = this.#changes;
    if (changes.length === 0) return;
    this.#changes = [];
    for (const listener of this.#listeners) listener(changes, this.#revision);
  }

  #rolledBack(): void {
    this.#changes = [];
    this.#leases.rolledBack();
    this.#revision = this.#meta.lastRevision(this.#table);
    this.#compacted = this.#meta.get('compacted');
  }

  async #removeCompacted(revision: bigint): Promise<void> {
    let next: bigint | undefined = 0n;
    while (next !== undefined) {
      const from: bigint = next;
      next = await this.#commits.submit(() => this.#table.compactSlice(from, revision, COMPACTION_SLICE));
    }
  }
}
