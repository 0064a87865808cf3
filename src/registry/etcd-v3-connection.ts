import { AuthService } from '#src/etcd/rpc.ts';
import type { DuplexCall, GrpcChannel, Metadata, Method } from '#src/grpc/grpc-channel.ts';
import { type Endpoint, EndpointRing } from '#src/registry/endpoints.ts';
import type { Credentials, EtcdComponents, EtcdOptions } from '#src/registry/etcd-options.ts';
import { etcdChannel } from '#src/registry/etcd-v3-client.ts';
import { isStaleToken, statusFailure, statusOf } from '#src/registry/etcd-v3-status.ts';
import { askInTurn, type CallOptions, DEFAULT_CALL_TIMEOUT_MS } from '#src/registry/failover.ts';
import { type Failure, isLocal, registryError } from '#src/registry/failure.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import type { WatchSiblings } from '#src/registry/watch-siblings.ts';
import type { Clock } from '#src/sys/clock.ts';
import { openStream } from '#src/sys/stream-socket.ts';

/**
 * Calls to whichever endpoint answers, with a deadline each, and with the user's token. A connection that failed is
 * dropped, and the next call makes another one: pauses between attempts are the caller's.
 */
export class EtcdConnection {
  readonly ring: EndpointRing;
  readonly callTimeoutMs: number;
  readonly #tls: TlsMaterial;
  readonly #auth: Credentials | undefined;
  readonly #clients = new Map<Endpoint, GrpcChannel>();
  readonly clock: Clock;
  readonly siblings: WatchSiblings | undefined;
  #token: string | undefined;

  constructor(components: EtcdComponents, options: Omit<EtcdOptions, 'prefix'>) {
    this.clock = components.clock;
    this.siblings = components.siblings;
    this.ring = new EndpointRing(options.endpoints, components.random);
    this.callTimeoutMs = options.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS;
    this.#tls = options.tls;
    this.#auth = options.auth;
  }

  /**
   * One unary call. Endpoints are tried in turn as long as the failure is theirs and the call is repeatable.
   *
   * @throws {RegistryError} whose cause is a GrpcError; the signal's reason when it aborts
   */
  call<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<Answer> {
    const ask = (endpoint: Endpoint) => this.callAt(endpoint, method, request, signal);
    const judge = (endpoint: Endpoint, error: unknown) => this.#judge(endpoint, error);
    return askInTurn(this.ring, options, { ask, judge }, signal);
  }

  /** One unary call of one endpoint. Rejects with what gRPC says. */
  callAt<Request, Answer>(
    endpoint: Endpoint,
    method: Method<Request, Answer>,
    request: Request,
    signal: AbortSignal,
  ): Promise<Answer> {
    return this.#asUser(endpoint, signal, (metadata) =>
      this.#send(endpoint, method, request, metadata, signal),
    );
  }

  /**
   * One request and its answer, of a method that takes a stream of them: an answer that has come is the end of it.
   * Repeatable.
   *
   * @throws {RegistryError} as {@link call} does
   */
  exchange<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    what: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    const ask = (endpoint: Endpoint) =>
      this.#asUser(endpoint, signal, (metadata) =>
        this.#exchange(endpoint, method, request, metadata, signal),
      );
    const judge = (endpoint: Endpoint, error: unknown) => this.#judge(endpoint, error);
    return askInTurn(this.ring, { what, repeatable: true }, { ask, judge }, signal);
  }

  /** Opens a stream on the current endpoint, which the caller has to {@link giveUp} when it fails. */
  async open<Request, Answer>(
    method: Method<Request, Answer>,
    what: string,
    signal: AbortSignal,
  ): Promise<{ endpoint: Endpoint; stream: DuplexCall<Request, Answer> }> {
    const endpoint = this.ring.current;
    const metadata = await this.#metadata(endpoint, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw registryError(what, [this.#judge(endpoint, error)]);
    });
    // A member cut off from its cluster ends the stream, where it would be silent otherwise.
    const stream = this.#client(endpoint).duplex(method, { metadata: { ...metadata, hasleader: 'true' } });
    return { endpoint, stream };
  }

  /** The endpoint gave no good answer: its connection goes, and the next endpoint is tried from now on. */
  giveUp(endpoint: Endpoint): void {
    this.#clients.get(endpoint)?.close();
    this.#clients.delete(endpoint);
    this.ring.failed(endpoint);
  }

  /** Ends all connections; a call after this makes its own. */
  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #judge(endpoint: Endpoint, error: unknown): Failure {
    const failure = statusFailure(endpoint, error, this.callTimeoutMs);
    if (isLocal(failure.reason)) this.giveUp(endpoint);
    return failure;
  }

  async #asUser<Answer>(
    endpoint: Endpoint,
    signal: AbortSignal,
    send: (metadata: Metadata) => Promise<Answer>,
  ): Promise<Answer> {
    const metadata = await this.#metadata(endpoint, signal);
    try {
      return await send(metadata);
    } catch (error) {
      if (this.#auth === undefined || !isStaleToken(error)) throw error;
      // etcd forgets tokens after five minutes, and when it restarts. It looked at the token before it looked at the
      // request, so that even a write may be sent again.
      this.#token = undefined;
      return send(await this.#metadata(endpoint, signal));
    }
  }

  async #metadata(endpoint: Endpoint, signal: AbortSignal): Promise<Metadata> {
    if (this.#auth === undefined) return {};
    this.#token ??= await this.#authenticate(endpoint, this.#auth, signal);
    return this.#token === '' ? {} : { token: this.#token };
  }

  async #authenticate(
    endpoint: Endpoint,
    { username, password }: Credentials,
    signal: AbortSignal,
  ): Promise<string> {
    try {
      const request = { name: username, password };
      const answer = await this.#send(endpoint, AuthService.authenticate, request, {}, signal);
      return answer.token;
    } catch (error) {
      // As etcd's own client does: a user is given, but the cluster does not ask for one.
      if (statusOf(error)?.details === 'etcdserver: authentication is not enabled') return '';
      throw error;
    }
  }

  #send<Request, Answer>(
    endpoint: Endpoint,
    method: Method<Request, Answer>,
    request: Request,
    metadata: Metadata,
    signal: AbortSignal,
  ): Promise<Answer> {
    const settings = { metadata, timeoutMs: this.callTimeoutMs };
    return this.#client(endpoint).unary(method, request, settings, signal);
  }

  async #exchange<Request, Answer>(
    endpoint: Endpoint,
    method: Method<Request, Answer>,
    request: Request,
    metadata: Metadata,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const stream = this.#client(endpoint).duplex(method, { metadata, timeoutMs: this.callTimeoutMs });
    const abort = () => stream.cancel();
    signal.addEventListener('abort', abort, { once: true });
    try {
      stream.write(request);
      let answer: Answer | undefined;
      for await (const message of stream) {
        answer = message;
        // Not before: etcd's gRPC proxy drops the answer to a stream that has ended.
        stream.end();
      }
      if (answer === undefined) throw new Error('empty answer');
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      stream.cancel();
    }
  }

  #client(endpoint: Endpoint): GrpcChannel {
    let client = this.#clients.get(endpoint);
    if (client === undefined) {
      client = etcdChannel({ clock: this.clock, open: openStream }, endpoint, this.#tls);
      this.#clients.set(endpoint, client);
    }
    return client;
  }
}
