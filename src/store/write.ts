import { CompareResult, CompareTarget } from '#src/etcd/names.ts';
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  PutRequest,
  PutResponse,
  RangeRequest,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from '#src/etcd/rpc.ts';
import { SUB_BITS } from '#src/store/database.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import { keyRange } from '#src/store/key-range.ts';
import type { Change, KeyTable } from '#src/store/key-table.ts';
import type { LeaseTable } from '#src/store/lease-table.ts';
import { queryRange, type ReadView, readRevision } from '#src/store/range-query.ts';

const EMPTY = Buffer.alloc(0);
const ABSENT: KeyValue = {
  key: EMPTY,
  createRevision: 0n,
  modRevision: 0n,
  version: 0n,
  value: EMPTY,
  lease: 0n,
};

/** What database.ts has room for in one revision. */
const MAX_CHANGES = (1n << SUB_BITS) - 1n;
/** Half of it, so that a range to delete is refused for what it is. */
const MAX_DELETIONS = 1n << (SUB_BITS - 1n);

/**
 * What the reads of one txn may take, bytes; a key costs something beside its value. A txn of 1.5 MB could otherwise read
 * everything 100,000 times, which takes all memory, or minutes in which nobody else is answered.
 */
const MAX_READ_BYTES = 256 << 20;
const KEY_OVERHEAD = 100;

const NO_HEADER: ResponseHeader = { clusterId: 0n, memberId: 0n, revision: 0n, raftTerm: 0n };

/**
 * One write: everything it changes is one revision, the next one, in the order of the changes. Used inside a
 * database transaction. A request is refused before its first change, so a refusal leaves nothing to undo.
 */
export class Write {
  readonly changes: Change[] = [];
  readonly #table: KeyTable;
  readonly #leases: LeaseTable;
  readonly #begin: ReadView;
  #deletions = 0n;
  #puts = 0n;
  #read = 0;

  constructor(table: KeyTable, leases: LeaseTable, begin: ReadView) {
    this.#table = table;
    this.#leases = leases;
    this.#begin = begin;
  }

  /** The store's revision with this write: unchanged as long as the write has changed nothing. */
  get revision(): bigint {
    return this.changes.length === 0 ? this.#begin.revision : this.#begin.revision + 1n;
  }

  put(request: PutRequest): PutResponse {
    this.#checkPut(request);
    return this.#put(request);
  }

  deleteRange(request: DeleteRangeRequest): DeleteRangeResponse {
    this.#reserve(this.#table.liveCount(keyRange(request.key, request.rangeEnd)));
    return this.#deleteRange(request);
  }

  #deleteRange(request: DeleteRangeRequest): DeleteRangeResponse {
    const gone = this.#table.live(keyRange(request.key, request.rangeEnd), -1n);
    for (const kv of gone) this.#delete(kv.key);
    return {
      header: this.#header(),
      deleted: BigInt(gone.length),
      prevKvs: request.prevKv ? gone : [],
    };
  }

  /** Deletes the lease's keys, in key order, and the lease. */
  revoke(lease: bigint): void {
    if (!this.#leases.has(lease)) throw etcdError('leaseNotFound');
    const keys = this.#table.keysOfLease(lease);
    this.#reserve(BigInt(keys.length));
    for (const key of keys) this.#delete(key);
    this.#leases.remove(lease);
  }

  /** All comparisons, those of nested txns too, are made before the first change. */
  txn(request: TxnRequest): TxnResponse {
    const plan = this.#plan(request);
    this.#checkPlan(plan);
    this.#reserve(0n);
    const response = this.#apply(plan);
    return { ...response, header: this.#header() };
  }

  #put({ key, value, lease, prevKv, ignoreValue, ignoreLease }: PutRequest): PutResponse {
    const previous = this.#table.current(key);
    const revision = this.#begin.revision + 1n;
    this.#write({
      deleted: false,
      kv: {
        key,
        value: ignoreValue && previous !== undefined ? previous.value : value,
        lease: ignoreLease && previous !== undefined ? previous.lease : lease,
        createRevision: previous?.createRevision ?? revision,
        modRevision: revision,
        version: (previous?.version ?? 0n) + 1n,
      },
    });
    return { header: this.#header(), prevKv: prevKv ? previous : undefined };
  }

  #delete(key: Buffer): void {
    this.#write({ deleted: true, kv: { ...ABSENT, key, modRevision: this.#begin.revision + 1n } });
  }

  #write(change: Change): void {
    this.#table.write(change, this.changes.length);
    this.changes.push(change);
  }

  #checkPut({ key, lease, ignoreValue, ignoreLease }: PutRequest): void {
    if (lease !== 0n && !this.#leases.has(lease)) throw etcdError('leaseNotFound');
    if ((ignoreValue || ignoreLease) && this.#table.current(key) === undefined)
      throw etcdError('keyNotFound');
  }

  #plan({ compare, success, failure }: TxnRequest): TxnPlan {
    const succeeded = compare.every((condition) => this.#holds(condition));
    const ops = (succeeded ? success : failure).map((op) =>
      op.request?.$case === 'requestTxn' ? this.#plan(op.request.requestTxn) : op,
    );
    return { succeeded, ops };
  }

  #holds(condition: Compare): boolean {
    const kvs = this.#table.live(keyRange(condition.key, condition.rangeEnd), -1n);
    this.#countRead(kvs, kvs.length);
    // A key that does not exist has revision, version and lease 0, but no value to compare with.
    if (kvs.length === 0) return condition.target !== CompareTarget.VALUE && holdsFor(condition, ABSENT);
    return kvs.every((kv) => holdsFor(condition, kv));
  }

  #checkPlan({ ops }: TxnPlan): void {
    for (const op of ops) {
      if ('succeeded' in op) this.#checkPlan(op);
      else if (op.request?.$case === 'requestPut') {
        this.#checkPut(op.request.requestPut);
        this.#puts++;
      } else if (op.request?.$case === 'requestRange') {
        readRevision(this.#begin, op.request.requestRange.revision);
      } else if (op.request?.$case === 'requestDeleteRange') {
        const { key, rangeEnd } = op.request.requestDeleteRange;
        this.#reserve(this.#table.liveCount(keyRange(key, rangeEnd)));
      }
    }
  }

  /** Deletions are announced before the first change: a revision has room for so many changes only. */
  #reserve(deletions: bigint): void {
    this.#deletions += deletions;
    if (this.#deletions > MAX_DELETIONS || this.#deletions + this.#puts > MAX_CHANGES)
      throw etcdError('tooManyOps');
  }

  /** A nested txn's header is empty in etcd. */
  #apply({ succeeded, ops }: TxnPlan): TxnResponse {
    const responses = ops.map((op) => this.#applyOp(op));
    return { header: { ...NO_HEADER }, succeeded, responses };
  }

  #applyOp(op: RequestOp | TxnPlan): ResponseOp {
    if ('succeeded' in op) return { response: { $case: 'responseTxn', responseTxn: this.#apply(op) } };
    switch (op.request?.$case) {
      case 'requestPut':
        return { response: { $case: 'responsePut', responsePut: this.#put(op.request.requestPut) } };
      case 'requestDeleteRange':
        return {
          response: {
            $case: 'responseDeleteRange',
            responseDeleteRange: this.#deleteRange(op.request.requestDeleteRange),
          },
        };
      case 'requestRange':
        return { response: { $case: 'responseRange', responseRange: this.#range(op.request.requestRange) } };
      default:
        return { response: undefined };
    }
  }

  #range(request: RangeRequest) {
    const view = { revision: this.revision, compacted: this.#begin.compacted };
    const answer = queryRange(this.#table, view, request);
    this.#countRead(answer.kvs, Number(answer.count));
    return { header: this.#header(), ...answer };
  }

  /** `examined`: the keys that were looked at. */
  #countRead(kvs: readonly KeyValue[], examined: number): void {
    this.#read += KEY_OVERHEAD * examined;
    for (const { key, value } of kvs) this.#read += key.length + value.length;
    if (this.#read > MAX_READ_BYTES) throw etcdError('answerTooLarge');
  }

  /** Inside a txn a header has only the revision. */
  #header(): ResponseHeader {
    return { ...NO_HEADER, revision: this.revision };
  }
}

/** The branches chosen, before anything is done. */
interface TxnPlan {
  readonly succeeded: boolean;
  readonly ops: readonly (RequestOp | TxnPlan)[];
}

function holdsFor(condition: Compare, kv: KeyValue): boolean {
  const order = compareTarget(condition, kv);
  switch (condition.result) {
    case CompareResult.EQUAL:
      return order === 0;
    case CompareResult.NOT_EQUAL:
      return order !== 0;
    case CompareResult.GREATER:
      return order > 0;
    case CompareResult.LESS:
      return order < 0;
    default:
      return true;
  }
}

function compareTarget({ target, targetUnion }: Compare, kv: KeyValue): number {
  switch (target) {
    case CompareTarget.VALUE:
      return Buffer.compare(kv.value, targetUnion?.$case === 'value' ? targetUnion.value : EMPTY);
    case CompareTarget.CREATE:
      return difference(
        kv.createRevision,
        targetUnion?.$case === 'createRevision' ? targetUnion.createRevision : 0n,
      );
    case CompareTarget.MOD:
      return difference(kv.modRevision, targetUnion?.$case === 'modRevision' ? targetUnion.modRevision : 0n);
    case CompareTarget.VERSION:
      return difference(kv.version, targetUnion?.$case === 'version' ? targetUnion.version : 0n);
    case CompareTarget.LEASE:
      return difference(kv.lease, targetUnion?.$case === 'lease' ? targetUnion.lease : 0n);
    default:
      return 0;
  }
}

function difference(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
