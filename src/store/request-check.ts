import type { PutRequest, RequestOp, TxnRequest } from '#src/etcd/rpc.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import { inRange, type KeyRange, singleKey } from '#src/store/key-range.ts';

/**
 * What etcd refuses before it looks at any key (api/v3rpc/key.go, v3.4), in its order. These are limits of etcd's
 * default configuration: `--max-txn-ops`.
 */
const MAX_TXN_OPS = 128;

export function checkKey(request: { readonly key: Buffer }): void {
  if (request.key.length === 0) throw etcdError('emptyKey');
}

export function checkPut(request: PutRequest): void {
  checkKey(request);
  if (request.ignoreValue && request.value.length !== 0) throw etcdError('valueProvided');
  if (request.ignoreLease && request.lease !== 0n) throw etcdError('leaseProvided');
}

export function checkTxn(request: TxnRequest): void {
  checkOps(request, MAX_TXN_OPS);
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

/** The keys that a branch puts, and the ranges it deletes. */
interface Touched {
  readonly puts: Set<string>;
  readonly deletes: KeyRange[];
}

/**
 * Throws when a branch would write a key twice. The two branches of one nested txn exclude each other and may both
 * write it. As in etcd, a key put by a nested txn is compared with the deletes seen so far only.
 */
function touched(ops: readonly RequestOp[]): Touched {
  const puts = new Set<string>();
  const deletes: KeyRange[] = [];
  for (const { request } of ops) {
    if (request?.$case !== 'requestDeleteRange') continue;
    const { key, rangeEnd } = request.requestDeleteRange;
    // An end "\0" is taken as it stands, not as "no end": etcd does not see such a delete here, and lets it pass.
    deletes.push(rangeEnd.length === 0 ? singleKey(key) : { from: key, to: rangeEnd });
  }
  const add = (key: string): void => {
    const bytes = Buffer.from(key, 'latin1');
    if (puts.has(key) || deletes.some((range) => inRange(range, bytes))) throw etcdError('duplicateKey');
    puts.add(key);
  };
  for (const { request } of ops) {
    if (request?.$case !== 'requestTxn') continue;
    const success = touched(request.requestTxn.success);
    const failure = touched(request.requestTxn.failure);
    for (const key of success.puts.union(failure.puts)) add(key);
    deletes.push(...success.deletes, ...failure.deletes);
  }
  for (const { request } of ops) {
    if (request?.$case === 'requestPut') add(request.requestPut.key.toString('latin1'));
  }
  return { puts, deletes };
}
