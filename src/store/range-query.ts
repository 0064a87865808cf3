import { SortOrder, SortTarget } from '#src/etcd/names.ts';
import type { KeyValue, RangeRequest, RangeResponse } from '#src/etcd/rpc.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import { keyRange } from '#src/store/key-range.ts';
import type { KeyTable } from '#src/store/key-table.ts';

/** The revisions a read may ask for. */
export interface ReadView {
  /** What a read without revision sees; inside a write that has begun it is the new one. */
  readonly revision: bigint;
  readonly compacted: bigint;
}

/** More keys than there can be. A limit from here on limits nothing, and one more would not fit SQLite's integers. */
const NO_LIMIT = 1n << 62n;

/**
 * Answers a Range as etcd 3.4 does (server/apply.go, mvcc/kvstore_txn.go). `count` is the number of keys in the
 * range before any filter or limit; sorting by something else than the key is stable here, which etcd leaves open.
 * The response's header is the caller's.
 */
export function queryRange(
  table: KeyTable,
  view: ReadView,
  request: RangeRequest,
): Omit<RangeResponse, 'header'> {
  const range = keyRange(request.key, request.rangeEnd);
  const revision = readRevision(view, request.revision);
  const past = revision < view.revision;
  const count = (): bigint => (past ? table.pastCount(range, revision) : table.liveCount(range));
  if (request.countOnly) return { kvs: [], more: false, count: count() };

  const filters = filtersOf(request);
  const wanted = request.limit > 0n && request.limit < NO_LIMIT ? request.limit : undefined;
  const direct = wanted !== undefined && request.sortOrder === SortOrder.NONE && filters.length === 0;
  const limit = direct ? wanted + 1n : -1n;
  let kvs = past ? table.past(range, revision, limit) : table.live(range, limit);
  const total = direct && BigInt(kvs.length) === limit ? count() : BigInt(kvs.length);

  if (filters.length > 0) kvs = kvs.filter((kv) => filters.every((passes) => passes(kv)));
  sortKeyValues(kvs, request.sortOrder, request.sortTarget);
  const more = wanted !== undefined && BigInt(kvs.length) > wanted;
  if (more) kvs = kvs.slice(0, Number(wanted));
  if (request.keysOnly) kvs = kvs.map((kv) => ({ ...kv, value: Buffer.alloc(0) }));
  return { kvs, more, count: total };
}

/** The revision to read at, or etcd's error when it is not there yet or no longer. */
export function readRevision(view: ReadView, asked: bigint): bigint {
  if (asked > view.revision) throw etcdError('futureRevision');
  const revision = asked <= 0n ? view.revision : asked;
  if (revision < view.compacted) throw etcdError('compacted');
  return revision;
}

function filtersOf(request: RangeRequest): ((kv: KeyValue) => boolean)[] {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const filters: ((kv: KeyValue) => boolean)[] = [];
  if (minModRevision !== 0n) filters.push((kv) => kv.modRevision >= minModRevision);
  if (maxModRevision !== 0n) filters.push((kv) => kv.modRevision <= maxModRevision);
  if (minCreateRevision !== 0n) filters.push((kv) => kv.createRevision >= minCreateRevision);
  if (maxCreateRevision !== 0n) filters.push((kv) => kv.createRevision <= maxCreateRevision);
  return filters;
}

type Comparison = (a: KeyValue, b: KeyValue) => number;

const COMPARISONS: Readonly<Record<number, Comparison>> = {
  [SortTarget.KEY]: (a, b) => Buffer.compare(a.key, b.key),
  [SortTarget.VERSION]: (a, b) => Number(a.version - b.version),
  [SortTarget.CREATE]: (a, b) => Number(a.createRevision - b.createRevision),
  [SortTarget.MOD]: (a, b) => Number(a.modRevision - b.modRevision),
  [SortTarget.VALUE]: (a, b) => Buffer.compare(a.value, b.value),
};

/** Rows come in key order; another target without an order means ascending. */
function sortKeyValues(kvs: KeyValue[], order: number, target: number): void {
  const compare = COMPARISONS[target];
  if (compare === undefined || (target === SortTarget.KEY && order !== SortOrder.DESCEND)) return;
  kvs.sort(order === SortOrder.DESCEND ? (a, b) => compare(b, a) : compare);
}
