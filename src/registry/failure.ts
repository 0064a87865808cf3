import type { Endpoint } from '#src/registry/endpoints.ts';
import { RegistryError } from '#src/registry/errors.ts';

export type FailureReason = RegistryError['reason'];

/** Why one endpoint gave no usable answer. */
export interface Failure {
  readonly endpoint: Endpoint;
  readonly reason: FailureReason;
  /** `connection refused`: what follows the endpoint in the text. */
  readonly why: string;
  /** True when the request certainly never reached the endpoint. */
  readonly unsent?: boolean;
  readonly cause?: unknown;
}

/** Failures of one member's connection: another member may do better. The others are the cluster's answer. */
export const isLocal = (reason: FailureReason): boolean =>
  reason === 'unreachable' || reason === 'timeout' || reason === 'tls' || reason === 'protocol';

/** All that the endpoints said, as one line: `cannot list the leases: http://10.0.0.1:2379: connection refused`. */
export function registryError(what: string, failures: readonly Failure[]): RegistryError {
  // A member that is down says less about the cause than one that answered.
  const cause = failures.find(({ reason }) => reason !== 'unreachable') ?? failures[0];
  const reason = cause?.reason ?? 'unreachable';
  const remedy = REMEDIES[reason];
  const causes = failures.map(({ endpoint, why }) => `${endpoint.url}: ${why}`);
  return new RegistryError(reason, `cannot ${what}: ${causes.join('; ')}`, {
    ...(remedy !== undefined && { remedy }),
    cause: cause?.cause,
  });
}

const REMEDIES: Partial<Record<FailureReason, string>> = {
  unreachable: 'check the address (http or https, host, port) and that etcd runs there',
  timeout: 'check that etcd has a leader and that no firewall drops the packets',
  tls: 'check --etcd-cafile, --etcd-certfile and --etcd-keyfile',
  unauthenticated: 'check --etcd-username and --etcd-password',
  denied: 'grant the user read and write on the prefix (etcdctl role grant-permission)',
};

/** How node words the failures of a socket, in the words a user knows. */
export function describeSocketError(code: string, text: string): { reason: FailureReason; why: string } {
  const socket = SOCKET_ERRORS.find(([name]) => code === name || text.includes(name));
  if (socket !== undefined) return { reason: 'unreachable', why: socket[1] };
  if (TLS_ERROR.test(code) || TLS_ERROR.test(text)) return { reason: 'tls', why: tlsText(text) };
  return { reason: 'unreachable', why: oneLine(text) };
}

const SOCKET_ERRORS: readonly (readonly [string, string])[] = [
  ['ECONNREFUSED', 'connection refused'],
  ['ENOTFOUND', 'no such host name'],
  ['EAI_AGAIN', 'the host name cannot be looked up now'],
  ['EHOSTUNREACH', 'no route to host'],
  ['ENETUNREACH', 'network unreachable'],
  ['ETIMEDOUT', 'connection timed out'],
  ['ECONNRESET', 'connection reset'],
  ['EPIPE', 'connection closed'],
];

/** A server without TLS was asked over https. */
export const TLS_NOT_SPOKEN = 'TLS: the server answers without TLS; its address may be http, not https';

const TLS_ERROR = /certificate|_CERT|SSL|TLS|altname|EPROTO/i;

function tlsText(text: string): string {
  // An alert is the other side's word. etcd sends "bad certificate" also when it was shown none.
  const alert = /tls\w* alert ([a-z ]+)/i.exec(text)?.[1]?.trim();
  if (alert !== undefined)
    return `TLS: the server refuses the client certificate, or wants one (alert: ${alert})`;
  if (/wrong version number|packet length too long/.test(text)) return TLS_NOT_SPOKEN;
  return `TLS: ${oneLine(text).replace(/; if the root CA is installed locally.*$/, '')}`;
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
