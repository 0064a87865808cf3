import {
  type Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  type RequestOp,
  TxnRequest,
  type WatchResponse,
} from '#src/etcd/rpc.ts';

/** Short ways to write requests, and to make answers of two servers comparable. */
export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
/** Every key there is. */
export const ALL = { key: bytes('\0'), rangeEnd: bytes('\0') };

export const put = (key: string, value: string, more: Partial<PutRequest> = {}): PutRequest =>
  PutRequest.create({ key: bytes(key), value: bytes(value), ...more });
export const range = (key: string, more: Partial<RangeRequest> = {}): RangeRequest =>
  RangeRequest.create({ key: bytes(key), ...more });
export const remove = (key: string, more: Partial<DeleteRangeRequest> = {}): DeleteRangeRequest =>
  DeleteRangeRequest.create({ key: bytes(key), ...more });
export const txn = (compare: Compare[], success: RequestOp[], failure: RequestOp[] = []): TxnRequest =>
  TxnRequest.create({ compare, success, failure });

export const putOp = (requestPut: PutRequest): RequestOp => ({
  request: { $case: 'requestPut', requestPut },
});
export const rangeOp = (requestRange: RangeRequest): RequestOp => ({
  request: { $case: 'requestRange', requestRange },
});
export const removeOp = (requestDeleteRange: DeleteRangeRequest): RequestOp => ({
  request: { $case: 'requestDeleteRange', requestDeleteRange },
});
export const txnOp = (requestTxn: TxnRequest): RequestOp => ({
  request: { $case: 'requestTxn', requestTxn },
});

export const compare = (
  key: string,
  target: number,
  result: number,
  targetUnion: Compare['targetUnion'],
  rangeEnd = '',
): Compare => ({ key: bytes(key), target, result, targetUnion, rangeEnd: bytes(rangeEnd) });

/** What two servers cannot agree on. */
const OWN = new Set(['clusterId', 'memberId', 'raftTerm']);

/** Texts for bytes and big numbers, without what is each server's own. */
export function comparable(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('latin1');
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([name]) => !OWN.has(name));
  return Object.fromEntries(entries.map(([name, inner]) => [name, comparable(inner)]));
}

/** A watch as its watcher has to see it: the events in order, however they were bundled, and what was said between. */
export function watched(messages: readonly WatchResponse[]): unknown[] {
  return messages.flatMap(({ events, fragment, ...message }) =>
    events.length === 0
      ? [comparable(message)]
      : events.map((event) => ({ watchId: `${message.watchId}n`, event: comparable(event) })),
  );
}
