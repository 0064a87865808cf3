import * as http from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import { type Endpoint, EndpointRing } from '#src/registry/endpoints.ts';
import type { Credentials, EtcdComponents, EtcdOptions } from '#src/registry/etcd-options.ts';
import { parseBody, type V2Body, V2Failure } from '#src/registry/etcd-v2-body.ts';
import { askInTurn, type CallOptions, DEFAULT_CALL_TIMEOUT_MS } from '#src/registry/failover.ts';
import { describeSocketError, type Failure, registryError } from '#src/registry/failure.ts';
import { NodeList } from '#src/registry/node-list.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export type { V2Body, V2Node } from '#src/registry/etcd-v2-body.ts';

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
/** Why a timer is ended. Without a reason, abort makes an Error with its stack, and each event ends a request. */
const ENDED = 'ended';

/** etcd v2's keys API over node's own HTTP client (contract §2.2), on whichever endpoint answers. */
export class EtcdV2Http {
  readonly ring: EndpointRing;
  readonly #tls: TlsMaterial;
  readonly #plain = new http.Agent({ keepAlive: true });
  #secure: Promise<SecureAgent> | undefined;
  readonly #auth: Credentials | undefined;
  readonly #timeoutMs: number;
  readonly #clock: Clock;

  constructor(components: EtcdComponents, options: Omit<EtcdOptions, 'prefix'>) {
    this.#clock = components.clock;
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
      return { ...marksOf(response), body: parseBody(response.statusCode ?? 0, text) };
    });
  }

  /** A recursive GET, whose answer is read as it comes: `items` is what `read` made of the nodes of its list. */
  list<Item>(
    request: V2Request,
    options: CallOptions,
    signal: AbortSignal,
    read: (node: unknown) => Iterable<Item>,
  ): Promise<V2Answer & { readonly items: readonly Item[] }> {
    return this.#inTurn(options, signal, async (endpoint) => {
      const response = await this.#send(endpoint, request, signal);
      const items: Item[] = [];
      const take = (node: unknown) => {
        for (const item of read(node)) items.push(item);
      };
      const list = new NodeList(take);
      const budget = new TurnBudget(this.#clock);
      await readEach(
        response,
        (piece) => {
          list.push(piece);
          // Node reads 2 MB from a socket in one go, which are 30 ms of work. While this waits, it reads no more than it needs.
          return budget.turn();
        },
        this.#timeoutMs,
        () => this.#tooLate(),
      );
      const body = parseBody(response.statusCode ?? 0, list.end());
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
            return text === '' ? undefined : parseBody(response.statusCode ?? 0, text);
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
      if (this.#auth !== undefined && !this.#isOurs(next)) {
        throw new V2Failure(
          'protocol',
          `redirected to ${next.origin}, which is not among the endpoints: user and password are not sent there`,
        );
      }
      url = next;
    }
    throw new V2Failure('protocol', 'redirected in a circle');
  }

  #isOurs({ protocol, hostname, port }: URL): boolean {
    const given = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
    return this.ring.endpoints.some(({ url }) => url === `${protocol}//${hostname}:${given}`);
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
      const answered = new AbortController();
      this.#clock.sleep(this.#timeoutMs, answered.signal).then(
        () => request.destroy(this.#tooLate()),
        () => {},
      );
      request.once('close', () => answered.abort(ENDED));
      request.once('error', reject);
      request.once('response', (response) => {
        answered.abort(ENDED);
        // The reader gets its failure. Before somebody reads it, an error event without a listener would be fatal.
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
  await readEach(response, (chunk) => void chunks.push(chunk), stallMs, tooLate);
  return Buffer.concat(chunks).toString();
}

async function readEach(
  response: http.IncomingMessage,
  take: (chunk: Buffer) => void | Promise<void>,
  stallMs?: number,
  tooLate?: () => Error,
): Promise<void> {
  if (stallMs !== undefined) response.setTimeout(stallMs, () => response.destroy(tooLate?.()));
  for await (const chunk of response) await take(chunk);
}

const marksOf = (response: http.IncomingMessage): Omit<V2Answer, 'body'> => ({
  index: BigInt(/^\d+$/.exec(String(response.headers['x-etcd-index']))?.[0] ?? 0),
  clusterId: String(response.headers['x-etcd-cluster-id'] ?? ''),
});

function judge(endpoint: Endpoint, error: unknown): Failure {
  if (error instanceof V2Failure) return { endpoint, reason: error.reason, why: error.message };
  const { code = '', message = String(error), syscall } = error as NodeJS.ErrnoException;
  const unsent = syscall === 'connect' || syscall === 'getaddrinfo';
  return { endpoint, ...describeSocketError(code, message), unsent, cause: error };
}

const escapeKey = (key: string): string => key.split('/').map(encodeURIComponent).join('/');
