import { type Status, status } from '#src/grpc/grpc-status.ts';

/**
 * An answer that is an error, as etcd gives it. Clients go by its code and its text, so both are etcd's own
 * (api/v3rpc/rpctypes/error.go, read at v3.4), letter for letter.
 */
export class EtcdError extends Error {
  readonly code: Status;

  constructor(code: Status, message: string) {
    super(message);
    this.name = 'EtcdError';
    this.code = code;
  }
}

const { INVALID_ARGUMENT, OUT_OF_RANGE, NOT_FOUND, FAILED_PRECONDITION, RESOURCE_EXHAUSTED } = status;

const ERRORS = {
  emptyKey: [INVALID_ARGUMENT, 'etcdserver: key is not provided'],
  keyNotFound: [INVALID_ARGUMENT, 'etcdserver: key not found'],
  valueProvided: [INVALID_ARGUMENT, 'etcdserver: value is provided'],
  leaseProvided: [INVALID_ARGUMENT, 'etcdserver: lease is provided'],
  tooManyOps: [INVALID_ARGUMENT, 'etcdserver: too many operations in txn request'],
  duplicateKey: [INVALID_ARGUMENT, 'etcdserver: duplicate key given in txn request'],
  requestTooLarge: [INVALID_ARGUMENT, 'etcdserver: request is too large'],
  compacted: [OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted'],
  futureRevision: [OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision'],
  noSpace: [RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded'],
  leaseNotFound: [NOT_FOUND, 'etcdserver: requested lease not found'],
  leaseExists: [FAILED_PRECONDITION, 'etcdserver: lease already exists'],
  leaseTtlTooLarge: [OUT_OF_RANGE, 'etcdserver: too large lease TTL'],
  userEmpty: [INVALID_ARGUMENT, 'etcdserver: user name is empty'],
  authFailed: [INVALID_ARGUMENT, 'etcdserver: authentication failed, invalid user ID or password'],
  authNotEnabled: [FAILED_PRECONDITION, 'etcdserver: authentication is not enabled'],
  invalidToken: [status.UNAUTHENTICATED, 'etcdserver: invalid auth token'],
  answerTooLarge: [RESOURCE_EXHAUSTED, 'weft store: the reads of this txn are too large'],
  tooManyRequests: [RESOURCE_EXHAUSTED, 'etcdserver: too many requests'],
  internal: [status.INTERNAL, 'weft store: internal error, see its log'],
  stopped: [status.UNAVAILABLE, 'etcdserver: server stopped'],
} as const satisfies Record<string, readonly [Status, string]>;

export function etcdError(name: keyof typeof ERRORS): EtcdError {
  const [code, message] = ERRORS[name];
  return new EtcdError(code, message);
}
