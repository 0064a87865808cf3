import * as fc from 'fast-check';
import { CompareResult, CompareTarget, SortOrder, SortTarget } from '#src/etcd/names.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '#src/etcd/rpc.ts';
import { bytes, compare, put, putOp, range, rangeOp, remove, removeOp, txn, txnOp } from './script.ts';

/** One call of a random sequence. Revisions are relative, so that a sequence means something wherever it begins. */
export type Operation =
  | { readonly kind: 'put'; readonly request: PutRequest }
  | { readonly kind: 'range'; readonly request: RangeRequest; readonly back: bigint }
  | { readonly kind: 'delete'; readonly request: DeleteRangeRequest }
  | { readonly kind: 'txn'; readonly request: TxnRequest }
  | { readonly kind: 'compact'; readonly back: bigint };

/** Few keys, one the beginning of another and one that is no text, so that ranges and keys meet often. */
const KEYS = ['a', 'a\0', 'ab', 'b', 'b/1', 'b/2', 'c', '\xff'];
const key = fc.constantFrom(...KEYS);
const end = fc.constantFrom('', '', '\0', ...KEYS, 'z');
const value = fc.constantFrom('', '1', '2', '\xfe');

const putRequest = fc
  .record({
    key,
    value,
    prevKv: fc.boolean(),
    ignoreValue: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  })
  .map(({ key, value, ...rest }) => put(key, rest.ignoreValue ? '' : value, rest));

const rangeRequest = fc
  .record({
    key,
    end,
    limit: fc.constantFrom(0n, 0n, 1n, 2n, 3n),
    sortOrder: fc.constantFrom(SortOrder.NONE, SortOrder.ASCEND, SortOrder.DESCEND),
    // Only keys differ in every two: with another target the order of equals is etcd's secret.
    sortTarget: fc.constant(SortTarget.KEY),
    keysOnly: fc.boolean(),
    countOnly: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
  })
  .map(({ key, end, ...rest }) => range(key, { ...rest, rangeEnd: bytes(end) }));

const deleteRequest = fc
  .record({ key, end, prevKv: fc.boolean() })
  .map(({ key, end, prevKv }) => remove(key, { rangeEnd: bytes(end), prevKv }));

const condition: fc.Arbitrary<Compare> = fc
  .record({
    key,
    end: fc.constantFrom('', '', ...KEYS),
    result: fc.constantFrom(...Object.values(CompareResult)),
    union: fc.oneof(
      value.map((text) => ({
        target: CompareTarget.VALUE,
        union: { $case: 'value', value: bytes(text) } as const,
      })),
      fc.constantFrom(0n, 1n, 2n).map((version) => ({
        target: CompareTarget.VERSION,
        union: { $case: 'version', version } as const,
      })),
      fc.constantFrom(0n, 1n).map((lease) => ({
        target: CompareTarget.LEASE,
        union: { $case: 'lease', lease } as const,
      })),
    ),
  })
  .map(({ key, end, result, union: { target, union } }) => compare(key, target, result, union, end));

/**
 * Without `ignoreValue`: etcd (3.4.23 here) looks for the key before the txn begins, and dies of a panic when an
 * operation of the same txn, such as a delete with the end "\\0", has removed it since.
 */
const putInTxn = putRequest.map((request) => putOp({ ...request, ignoreValue: false }));

const simpleOp: fc.Arbitrary<RequestOp> = fc.oneof(
  { weight: 3, arbitrary: putInTxn },
  { weight: 1, arbitrary: deleteRequest.map(removeOp) },
  { weight: 1, arbitrary: rangeRequest.map(rangeOp) },
);
const txnOf = (op: fc.Arbitrary<RequestOp>): fc.Arbitrary<TxnRequest> =>
  fc
    .tuple(
      fc.array(condition, { maxLength: 2 }),
      fc.array(op, { maxLength: 3 }),
      fc.array(op, { maxLength: 3 }),
    )
    .map(([conditions, success, failure]) => txn(conditions, success, failure));
const txnRequest = txnOf(
  fc.oneof({ weight: 4, arbitrary: simpleOp }, { weight: 1, arbitrary: txnOf(simpleOp).map(txnOp) }),
);

const back = fc.bigInt({ min: -1n, max: 12n });

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: putRequest.map((request) => ({ kind: 'put', request }) as const) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('range' as const), request: rangeRequest, back }) },
  { weight: 2, arbitrary: deleteRequest.map((request) => ({ kind: 'delete', request }) as const) },
  { weight: 4, arbitrary: txnRequest.map((request) => ({ kind: 'txn', request }) as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const), back }) },
);
