import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import type { Endpoint } from '#src/registry/endpoints.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import type { Clock } from '#src/sys/clock.ts';

/** The look is a short cut: what takes longer is asked the long way. */
const DEADLINE_MS = 1_000;

/** RangeResponse as etcd's JSON gateway writes it: 64-bit numbers are text, and what is empty is left out. */
interface RangeAnswer {
  readonly header?: { readonly cluster_id?: unknown };
  readonly kvs?: unknown;
  readonly count?: unknown;
}

/**
 * True when etcd itself says, through the JSON gateway of its v3 API (3.4 and later, unless switched off), that there
 * is no such key: a linearizable read like any other. False is no answer: the key is there, or who asks over gRPC will
 * learn more. Plain HTTP, because a host whose network is in etcd v2 needs the client of etcd v3 and its messages for nothing but
 * this no.
 */
export async function isAbsentFromV3(
  { clock }: { readonly clock: Clock },
  { endpoints, tls }: Pick<EtcdOptions, 'endpoints' | 'tls'>,
  key: string,
  signal: AbortSignal,
): Promise<boolean> {
  const settled = new AbortController();
  const late = new AbortController();
  const deadline = AbortSignal.any([signal, late.signal]);
  clock.sleep(DEADLINE_MS, settled.signal).then(
    () => late.abort(),
    () => {},
  );
  try {
    return await askAny(endpoints, tls, key, deadline, signal);
  } finally {
    settled.abort();
  }
}

async function askAny(
  endpoints: readonly Endpoint[],
  tls: TlsMaterial,
  key: string,
  deadline: AbortSignal,
  signal: AbortSignal,
): Promise<boolean> {
  const question = JSON.stringify({ key: Buffer.from(key).toString('base64'), keys_only: true });
  for (const endpoint of endpoints) {
    try {
      return saysAbsent(await ask(endpoint, tls, question, deadline));
    } catch {
      signal.throwIfAborted();
    }
  }
  return false;
}

const saysAbsent = ({ header, kvs, count }: RangeAnswer): boolean =>
  typeof header?.cluster_id === 'string' && kvs === undefined && (count === undefined || count === '0');

/** What the endpoint answers; an empty answer when it is not the gateway's. Throws when there is none. */
async function ask(
  { host, port, secure }: Endpoint,
  tls: TlsMaterial,
  question: string,
  signal: AbortSignal,
): Promise<RangeAnswer> {
  const options: RequestOptions = {
    ...{ method: 'POST', host, port, path: '/v3/kv/range', signal, agent: false },
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(question) },
  };
  if (secure) {
    const { secureAgent } = await import('#src/registry/secure-agent.ts');
    Object.assign(options, { protocol: 'https:', agent: secureAgent(tls, { keepAlive: false }) });
  }
  const answered = Promise.withResolvers<IncomingMessage>();
  request(options, answered.resolve).once('error', answered.reject).end(question);
  const response = await answered.promise;
  let text = '';
  for await (const piece of response.setEncoding('utf8')) text += piece;
  if (response.statusCode !== 200) return {};
  const answer: unknown = JSON.parse(text);
  return typeof answer === 'object' && answer !== null ? answer : {};
}
