import type { DeleteRangeRequest, PutRequest, RequestOp, TxnRequest } from '#src/etcd/rpc.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import { KeyIntervals } from '#src/store/key-intervals.ts';
import { singleKey } from '#src/store/key-range.ts';

/** What etcd refuses before it looks at any key (api/v3rpc/key.go, v3.4), in its order. */
export function checkKey(request: { readonly key: Buffer }): void {
  if (request.key.length === 0) throw etcdError('emptyKey');
}

export function checkPut(request: PutRequest): void {
  checkKey(request);
  if (request.ignoreValue && request.value.length !== 0) throw etcdError('valueProvided');
  if (request.ignoreLease && request.lease !== 0n) throw etcdError('leaseProvided');
}

/** `maxOps`: operations in each list of a txn and those nested in it; comparisons likewise. */
export function checkTxn(request: TxnRequest, maxOps: number): void {
  checkOps(request, maxOps);
  touched(request.success);
  touched(request.failure);
}

function checkOps(request: TxnRequest, allowed: number): void {
  const size = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (size > allowed) throw etcdError('tooManyOps');
  for (const compare of request.compare) checkKey(compare);
  for (const op of [...request.success, ...request.failure]) checkOp(op, allowed - size);
}

function checkOp({ request }: RequestOp, allowed: number): void {
  if (request === undefined) throw etcdError('keyNotFound');
  if (request.$case === 'requestRange') checkKey(request.requestRange);
  else if (request.$case === 'requestPut') checkPut(request.requestPut);
  else if (request.$case === 'requestDeleteRange') checkKey(request.requestDeleteRange);
  else checkOps(request.requestTxn, allowed);
}

/** The keys that a branch puts, and what it deletes. */
interface Touched {
  readonly puts: KeyIntervals;
  readonly deletes: KeyIntervals;
}

/**
 * Throws when a branch would write a key twice. The two branches of one nested txn exclude each other and may both
 * write it. As in etcd, a key put by a nested txn is compared with the deletes seen so far only.
 */
function touched(ops: readonly RequestOp[]): Touched {
  const nested = ops.flatMap(({ request }) => (request?.$case === 'requestTxn' ? [request.requestTxn] : []));
  const deletes = KeyIntervals.of(
    ops.flatMap(({ request }) =>
      request?.$case === 'requestDeleteRange' ? [deletedRange(request.requestDeleteRange)] : [],
    ),
  );
  const puts = KeyIntervals.of([]);
  const put = (more: KeyIntervals): void => {
    if (more.meets(puts) || more.meets(deletes)) throw etcdError('duplicateKey');
    puts.add(more);
  };
  for (const txn of nested) {
    const [success, failure] = [touched(txn.success), touched(txn.failure)];
    success.puts.add(failure.puts);
    put(success.puts);
    deletes.add(success.deletes);
    deletes.add(failure.deletes);
  }
  put(keysPut(ops));
  return { puts, deletes };
}

function keysPut(ops: readonly RequestOp[]): KeyIntervals {
  const keys = ops.flatMap(({ request }) =>
    request?.$case === 'requestPut' ? [request.requestPut.key] : [],
  );
  keys.sort(Buffer.compare);
  if (keys.some((key, index) => keys[index + 1]?.equals(key))) throw etcdError('duplicateKey');
  return KeyIntervals.of(keys.map(singleKey));
}

/** An end "\0" is taken as it stands, not as "no end": etcd does not see such a delete here, and lets it pass. */
function deletedRange({ key, rangeEnd }: DeleteRangeRequest): { readonly from: Buffer; readonly to: Buffer } {
  return rangeEnd.length === 0 ? singleKey(key) : { from: key, to: rangeEnd };
}
