import * as http from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import { type Endpoint, EndpointRing } from '#src/registry/endpoints.ts';
import type { Credentials, EtcdComponents, EtcdOptions } from '#src/registry/etcd-options.ts';
import { askInTurn, type CallOptions, DEFAULT_CALL_TIMEOUT_MS } from '#src/registry/failover.ts';
import {
  describeSocketError,
  type Failure,
  type FailureReason,
  registryError,
} from '#src/registry/failure.ts';
import { NodeList } from '#src/registry/node-list.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';

/** What etcd v2 answers: an event (`action`, `node`) or an error (`errorCode`, `message`). */
export interface V2Body {
  readonly action?: string;
  readonly node?: V2Node;
  /** etcd's own code (100 key not found, 101 compare failed, 105 key exists, 401 event index cleared). */
  readonly errorCode?: number;
  readonly message?: string;
  readonly cause?: string;
}

export interface V2Node {
  readonly key: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly nodes?: readonly V2Node[];
  /** When it ends, by the server's clock; absent for a permanent node. */
  readonly expiration?: string;
  /** Seconds left, rounded up; absent also for a node that ends just now. */
  readonly ttl?: number;
  readonly modifiedIndex: number;
  readonly createdIndex: number;
}

export interface V2Answer {
  /** `X-Etcd-Index`: the store's index when the request was looked at. */
  readonly index: bigint;
  readonly clusterId: string;
  readonly body: V2Body;
}

/** A long poll that has begun. It has to be ended. */
export interface V2Poll extends Omit<V2Answer, 'body'> {
  /** Waits for the event; `undefined` when the server ended the poll without one. To be called once. */
  event(): Promise<V2Body | undefined>;
  /** The index of the poll's own server now, by a look at `key`. Throws RegistryError when it does not answer. */
  probe(key: string): Promise<bigint>;
  end(): void;
}

export interface V2Request {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** The key, with its leading slash, not yet escaped. */
  readonly key: string;
  readonly query: string;
  /** A PUT's form fields. */
  readonly form?: Readonly<Record<string, string>>;
}

const MAX_REDIRECTS = 3;

/** An answer that is not etcd's, or not a useful one. */
class V2Failure extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, why: string) {
    super(why);
    this.reason = reason;
  }
}

/** etcd v2's keys API over node's own HTTP client (contract §2.2), on whichever endpoint answers. */
export class EtcdV2Http {
  readonly ring: EndpointRing;
  readonly #tls: TlsMaterial;
  readonly #plain = new http.Agent({ keepAlive: true });
  #secure: Promise<SecureAgent> | undefined;
  readonly #auth: Credentials | undefined;
  readonly #timeoutMs: number;

  constructor(components: EtcdComponents, options: Omit<EtcdOptions, 'prefix'>) {
    this.ring = new EndpointRing(options.endpoints, components.random);
    this.#tls = options.tls;
    this.#auth = options.auth;
    this.#timeoutMs = options.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS;
  }

  /** One request and its whole answer; etcd's own errors are answers too. */
  call(request: V2Request, options: CallOptions, signal: AbortSignal): Promise<V2Answer> {
    return this.#inTurn(options, signal, async (endpoint) => {
      const response = await this.#send(endpoint, request, signal);
      const text = await readAll(response, this.#timeoutMs, () => this.#tooLate());
      return { ...marksOf(response), body: parseBody(response, text) };
    });
  }

  /** A recursive GET, whose answer is read as it comes: `items` is what `read` made of the nodes of its list. */
  list<Item>(
    request: V2Request,
    options: CallOptions,
    signal: AbortSignal,
    read: (node: V2Node) => Iterable<Item>,
  ): Promise<V2Answer & { readonly items: readonly Item[] }> {
    return this.#inTurn(options, signal, async (endpoint) => {
      const response = await this.#send(endpoint, request, signal);
      const items: Item[] = [];
      const take = (node: V2Node) => {
        for (const item of read(node)) items.push(item);
      };
      const list = new NodeList(take);
      await readEach(
        response,
        (piece) => list.push(piece),
        this.#timeoutMs,
        () => this.#tooLate(),
      );
      const body = parseBody(response, list.end());
      for (const node of body.node?.nodes ?? []) take(node);
      return { ...marksOf(response), body, items };
    });
  }

  /** Begins a long poll. Resolves when the headers are there, which etcd sends at once. */
  poll(request: V2Request, what: string, signal: AbortSignal): Promise<V2Poll> {
    return this.#inTurn({ what, repeatable: false }, signal, async (endpoint) => {
      const response = await this.#send(endpoint, request, signal);
      const guarded = async <T>(ask: () => Promise<T>): Promise<T> => {
        try {
          return await ask();
        } catch (error) {
          signal.throwIfAborted();
          this.ring.failed(endpoint);
          throw registryError(what, [judge(endpoint, error)]);
        }
      };
      return {
        ...marksOf(response),
        event: () =>
          guarded(async () => {
            const text = await readAll(response);
            return text === '' ? undefined : parseBody(response, text);
          }),
        probe: (key) =>
          guarded(async () => {
            // Without a quorum: it asks whether this server lives, and costs the cluster nothing.
            const answer = await this.#send(endpoint, { method: 'GET', key, query: '' }, signal);
            await readAll(answer, this.#timeoutMs, () => this.#tooLate());
            return marksOf(answer).index;
          }),
        end: () => response.destroy(),
      };
    });
  }

  /** Ends all connections; a call after this makes its own. */
  close(): void {
    this.#plain.destroy();
    this.#secure?.then(
      (agent) => agent.destroy(),
      () => {},
    );
  }

  #inTurn<Answer>(
    options: CallOptions,
    signal: AbortSignal,
    ask: (endpoint: Endpoint) => Promise<Answer>,
  ): Promise<Answer> {
    return askInTurn(this.ring, options, { ask, judge }, signal);
  }

  async #send(endpoint: Endpoint, request: V2Request, signal: AbortSignal): Promise<http.IncomingMessage> {
    let url = new URL(`${endpoint.url}/v2/keys${escapeKey(request.key)}${request.query}`);
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await this.#sendTo(url, request, signal);
      const { location } = response.headers;
      if (location === undefined || !REDIRECTS.has(response.statusCode ?? 0)) return response;
      response.resume();
      const next = new URL(location, url);
      if (url.protocol === 'https:' && next.protocol !== 'https:') {
        throw new V2Failure('protocol', `redirected from https to ${next.origin}`);
      }
      url = next;
    }
    throw new V2Failure('protocol', 'redirected in a circle');
  }

  /** Resolves with the response's headers. */
  async #sendTo(url: URL, { method, form }: V2Request, signal: AbortSignal): Promise<http.IncomingMessage> {
    const body = form === undefined ? undefined : new URLSearchParams(form).toString();
    const headers: http.OutgoingHttpHeaders = {};
    if (this.#auth !== undefined) {
      const { username, password } = this.#auth;
      headers.authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    }
    if (body !== undefined) headers['content-type'] = 'application/x-www-form-urlencoded';
    const agent = url.protocol === 'https:' ? await this.#secureAgent() : this.#plain;
    return new Promise((resolve, reject) => {
      const request = http.request(url, { method, headers, agent, signal });
      const timer = setTimeout(() => request.destroy(this.#tooLate()), this.#timeoutMs);
      request.once('close', () => clearTimeout(timer));
      request.once('error', reject);
      request.once('response', (response) => {
        clearTimeout(timer);
        // Reading it tells of its failure; before that, a broken response is nobody's.
        response.on('error', () => {});
        resolve(response);
      });
      request.end(body);
    });
  }

  #secureAgent(): Promise<SecureAgent> {
    this.#secure ??= import('#src/registry/secure-agent.ts').then(({ secureAgent }) =>
      secureAgent(this.#tls, { keepAlive: true }),
    );
    return this.#secure;
  }

  #tooLate(): V2Failure {
    return new V2Failure('timeout', `no answer within ${this.#timeoutMs / 1000} s`);
  }
}

const REDIRECTS = new Set([301, 302, 307, 308]);

/** The whole body. `stallMs` ends a response that stops in the middle. */
async function readAll(
  response: http.IncomingMessage,
  stallMs?: number,
  tooLate?: () => Error,
): Promise<string> {
  const chunks: Buffer[] = [];
  await readEach(response, (chunk) => chunks.push(chunk), stallMs, tooLate);
  return Buffer.concat(chunks).toString();
}

async function readEach(
  response: http.IncomingMessage,
  take: (chunk: Buffer) => void,
  stallMs?: number,
  tooLate?: () => Error,
): Promise<void> {
  if (stallMs !== undefined) response.setTimeout(stallMs, () => response.destroy(tooLate?.()));
  for await (const chunk of response) take(chunk);
}

const marksOf = (response: http.IncomingMessage): Omit<V2Answer, 'body'> => ({
  index: BigInt(/^\d+$/.exec(String(response.headers['x-etcd-index']))?.[0] ?? 0),
  clusterId: String(response.headers['x-etcd-cluster-id'] ?? ''),
});

/** etcd's answer, its errors included. Everything else that speaks HTTP is told by its first words. */
function parseBody({ statusCode = 0 }: http.IncomingMessage, text: string): V2Body {
  let body: V2Body | undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) body = parsed;
  } catch {
    // Told below.
  }
  if (statusCode === 401) throw new V2Failure('unauthenticated', body?.message ?? 'HTTP status 401');
  if (statusCode === 403) throw new V2Failure('denied', body?.message ?? 'HTTP status 403');
  if (body?.errorCode !== undefined && Math.trunc(body.errorCode / 100) === RAFT_ERRORS) {
    throw new V2Failure('timeout', [body.message, body.cause].filter(Boolean).join(': '));
  }
  if (body?.errorCode === undefined && body?.node === undefined) {
    const hint =
      statusCode === 404 ? 'no etcd v2 API there (a v3-only etcd, or no --enable-v2)' : text.slice(0, 80);
    throw new V2Failure('protocol', `HTTP status ${statusCode}: ${hint.replaceAll(/\s+/g, ' ').trim()}`);
  }
  return body;
}

/** etcd v2's codes from 300 to 399: no leader, raft internal error, shutting down. */
const RAFT_ERRORS = 3;

function judge(endpoint: Endpoint, error: unknown): Failure {
  if (error instanceof V2Failure) return { endpoint, reason: error.reason, why: error.message };
  const { code = '', message = String(error), syscall } = error as NodeJS.ErrnoException;
  const unsent = syscall === 'connect' || syscall === 'getaddrinfo';
  return { endpoint, ...describeSocketError(code, message), unsent, cause: error };
}

const escapeKey = (key: string): string => key.split('/').map(encodeURIComponent).join('/');
