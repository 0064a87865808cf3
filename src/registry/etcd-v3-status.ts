import { GrpcError, status } from '#src/grpc/grpc-status.ts';
import { NO_HTTP2 } from '#src/grpc/http2-connection.ts';
import type { Endpoint } from '#src/registry/endpoints.ts';
import { describeSocketError, type Failure, type FailureReason } from '#src/registry/failure.ts';

/** gRPC's error, or the one a RegistryError was made from; `undefined` for anything else. */
export function statusOf(error: unknown): GrpcError | undefined {
  if (!(error instanceof Error)) return undefined;
  return error instanceof GrpcError ? error : statusOf(error.cause);
}

/** The revision asked for is compacted, or the store has not got so far: it was reset. */
export const isOutOfRange = (error: unknown): boolean => statusOf(error)?.code === status.OUT_OF_RANGE;

/** The answer is longer than this side takes. */
export const isTooLong = (error: unknown): boolean =>
  statusOf(error)?.code === status.RESOURCE_EXHAUSTED &&
  /larger than max/.test(statusOf(error)?.details ?? '');

/** The token is unknown to the server, or older than the last change of users and roles. */
export const isStaleToken = (error: unknown): boolean =>
  /invalid auth token|revision of auth store is old/.test(statusOf(error)?.details ?? '');

/** What a failed call says about its endpoint, in the words a user knows. */
export function statusFailure(endpoint: Endpoint, error: unknown, timeoutMs: number): Failure {
  const failed = statusOf(error);
  if (failed === undefined) {
    return { endpoint, reason: 'protocol', why: `not an answer of etcd v3: ${String(error)}`, cause: error };
  }
  return { endpoint, ...judge(failed, timeoutMs), unsent: failed.unsent, cause: failed };
}

function judge({ code, details }: GrpcError, timeoutMs: number): { reason: FailureReason; why: string } {
  const text = details.replace(/^etcdserver: /, '');
  if (/user name is empty/.test(details)) {
    return { reason: 'unauthenticated', why: 'etcd asks for a user and a password' };
  }
  if (/authentication failed/.test(details)) {
    return { reason: 'unauthenticated', why: 'wrong user or password' };
  }
  if (code === status.UNAUTHENTICATED) return { reason: 'unauthenticated', why: text };
  if (code === status.PERMISSION_DENIED) return { reason: 'denied', why: text };
  if (code === status.DEADLINE_EXCEEDED) {
    return { reason: 'timeout', why: `no answer within ${timeoutMs / 1000} s` };
  }
  if (code === status.UNAVAILABLE || code === status.CANCELLED) return unavailable(details);
  if (code === status.UNIMPLEMENTED) {
    return { reason: 'protocol', why: `no etcd v3 API there (${text})` };
  }
  if (code === status.INTERNAL) return { reason: 'protocol', why: text };
  return { reason: 'refused', why: text };
}

function unavailable(details: string): { reason: FailureReason; why: string } {
  if (details.startsWith('etcdserver: ')) {
    return { reason: 'timeout', why: details.slice('etcdserver: '.length) };
  }
  if (details === NO_HTTP2) {
    return { reason: 'protocol', why: 'no etcd v3 API there (it does not speak HTTP/2)' };
  }
  if (details.startsWith('Protocol error: ')) return { reason: 'protocol', why: details };
  return describeSocketError('', details);
}
