import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { status } from '#src/grpc/grpc-status.ts';
import { EtcdError, etcdError } from '#src/store/etcd-error.ts';
import { GrpcCall } from '#src/store/grpc-call.ts';
import { LargeBodies } from '#src/store/large-bodies.ts';
import { OutputAccount } from '#src/store/output-account.ts';
import type { Clock } from '#src/sys/clock.ts';
import { acceptHttp2, http2Numbers } from '#src/sys/http2.ts';
import { startInterval, type Timer } from '#src/sys/timer.ts';

/** The part of a generated service's method that a server needs. */
export interface Method<Request, Response> {
  readonly path: string;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (response: Response) => Buffer;
}

/** A connection, as a key for what is limited for each of them. */
export interface ConnectionIdentity {
  readonly socket: Duplex;
  readonly remoteAddress: string | undefined;
}

export type UnaryHandler<Request, Response> = (
  request: Request,
  connection: ConnectionIdentity,
) => Response | Promise<Response>;

/** A call of which both sides may be many messages. The handler listens to it and sends. */
export type StreamHandler = (call: GrpcCall, connection: ConnectionIdentity) => void;

export interface GrpcServerComponents {
  readonly clock: Clock;
  /** Called with a failure that is ours; the client learns only that there was one. */
  readonly failed: (error: unknown) => void;
  /** Throws {@link EtcdError} for a client that may not make guarded calls. */
  readonly admit: (token: string | undefined, connection: ConnectionIdentity) => void;
}

export interface GrpcServerOptions {
  /** Bytes of the largest request that is received. */
  readonly maxMessageBytes: number;
}

/** Bytes of answers that may wait for their readers: in all, on a connection for each kind of call, and on a stream. */
const OUTPUT = { total: 64 << 20, connection: 4 << 20, stream: 1 << 20 };
/** A connection that has taken nothing for so long while others wait for its bytes is closed. */
const STALLED_MS = 10_000;
const LARGE_BODIES = { total: 32, perConnection: 4, turnMs: 20_000 };
/** How long a request that is one message may take to arrive. */
const REQUEST_MS = 60_000;
const TICK_MS = 1000;

/** etcd sets no limit; clients wait by themselves when there are more. */
const MAX_STREAMS = 1000;
const SESSION_OPTIONS = {
  settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: 16 << 10, enablePush: false },
  // Node would refuse new calls while one large answer is on its way. The accounts below bound what is kept.
  maxSessionMemory: Number.MAX_SAFE_INTEGER,
  /** What a client may reset before it is sent away: a burst, and then so many a second. */
  streamResetBurst: 2000,
  streamResetRate: 200,
};

interface Connection extends ConnectionIdentity {
  readonly session: ServerHttp2Session;
  readonly unary: OutputAccount;
  readonly streams: OutputAccount;
  /** Calls whose request has not arrived, with the time they began. */
  readonly calls: Map<GrpcCall, number>;
  /** What its reader had taken, and since when it has taken no more. */
  progress: { readonly taken: number; readonly since: number };
}

interface RegisteredMethod {
  readonly kind: 'unary' | 'stream';
  readonly guarded: boolean;
  readonly dispatch: (call: GrpcCall, connection: Connection) => void;
}

/**
 * gRPC's framing on node's HTTP/2, for methods that are described as generated services are.
 *
 * grpc-js' own server stood here before. Three things can't be had around it: it throws where no caller can catch it
 * when a client resets a call that it refuses (unknown path, other content type); it receives and unpacks whatever
 * clients begin to send; and it copies each message once more for each reader. Beneath it node's HTTP/2 does
 * nearly all the work, so it is that which is used, with a bound on everything that a client can make grow.
 */
export class GrpcServer {
  readonly #clock: Clock;
  readonly #failed: (error: unknown) => void;
  readonly #admit: GrpcServerComponents['admit'];
  readonly #options: GrpcServerOptions;
  readonly #methods = new Map<string, RegisteredMethod>();
  readonly #connections = new Set<Connection>();
  readonly #output = new OutputAccount(OUTPUT.total);
  readonly #bodies: LargeBodies;
  readonly #timer: Timer;

  constructor({ clock, failed, admit }: GrpcServerComponents, options: GrpcServerOptions) {
    this.#clock = clock;
    this.#failed = failed;
    this.#admit = admit;
    this.#options = options;
    this.#bodies = new LargeBodies(() => clock.monotonic(), LARGE_BODIES);
    this.#timer = startInterval(clock, TICK_MS, () => this.#tick());
  }

  /** A method that only admitted clients may call. */
  unary<Request, Response>(method: Method<Request, Response>, handle: UnaryHandler<Request, Response>): void {
    this.#register(method, true, handle);
  }

  /** A method that everybody may call. */
  open<Request, Response>(method: Method<Request, Response>, handle: UnaryHandler<Request, Response>): void {
    this.#register(method, false, handle);
  }

  stream({ path }: { readonly path: string }, handle: StreamHandler): void {
    this.#methods.set(path, { kind: 'stream', guarded: true, dispatch: handle });
  }

  /** For calls that go on after they were admitted. */
  check(call: GrpcCall, connection: ConnectionIdentity): void {
    this.#admit(call.token, connection);
  }

  /** Serves a connection that speaks HTTP/2, already decrypted. */
  accept(socket: Socket): void {
    const session = acceptHttp2(socket, SESSION_OPTIONS);
    const connection: Connection = {
      socket,
      remoteAddress: socket.remoteAddress,
      session,
      unary: new OutputAccount(OUTPUT.connection, this.#output),
      streams: new OutputAccount(OUTPUT.connection, this.#output),
      calls: new Map(),
      progress: { taken: 0, since: this.#clock.monotonic() },
    };
    this.#connections.add(connection);
    // The end of a connection is followed by 'close', whatever its reason.
    session.on('error', () => {});
    session.on('close', () => {
      this.#connections.delete(connection);
      socket.destroy();
    });
    session.on('stream', (stream, headers) => this.#call(connection, stream, headers));
  }

  /** Ends every connection. */
  close(): void {
    this.#timer.stop();
    for (const { session } of this.#connections) {
      session.close();
      session.destroy(undefined, http2Numbers.NGHTTP2_CANCEL);
    }
  }

  #register<Request, Response>(
    method: Method<Request, Response>,
    guarded: boolean,
    handle: UnaryHandler<Request, Response>,
  ): void {
    const dispatch = (call: GrpcCall, connection: Connection): void =>
      this.#answer(call, connection, method, handle);
    this.#methods.set(method.path, { kind: 'unary', guarded, dispatch });
  }

  #call(connection: Connection, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const path = String(headers[':path']);
    const method = this.#methods.get(path);
    const output =
      method?.kind === 'stream' ? new OutputAccount(OUTPUT.stream, connection.streams) : connection.unary;
    const refusal = (error: unknown): EtcdError => this.#refusal(error);
    const call = new GrpcCall({ stream, headers, output, bodies: this.#bodies, refusal }, this.#options);
    // A client may have reset it before we heard of it.
    if (call.closed) return;
    if (headers[':method'] !== 'POST' || !headers['content-type']?.startsWith('application/grpc')) {
      call.refuse(http2Numbers.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE);
      return;
    }
    if (method === undefined) {
      call.fail(unknownPath(path));
      return;
    }
    call.attempt(() => {
      if (method.guarded) this.#admit(call.token, connection);
      method.dispatch(call, connection);
    });
  }

  #answer<Request, Response>(
    call: GrpcCall,
    connection: Connection,
    method: Method<Request, Response>,
    handle: UnaryHandler<Request, Response>,
  ): void {
    connection.calls.set(call, this.#clock.monotonic());
    let arrived = false;
    call.listen({
      message: (bytes) => {
        if (arrived) return;
        arrived = true;
        connection.calls.delete(call);
        this.#handle(call, bytes, method, (request) => handle(request, connection)).catch(this.#failed);
      },
      ended() {
        if (!arrived) call.fail(NO_REQUEST);
      },
      closed: () => connection.calls.delete(call),
    });
  }

  async #handle<Request, Response>(
    call: GrpcCall,
    bytes: Buffer,
    { requestDeserialize, responseSerialize }: Method<Request, Response>,
    handle: (request: Request) => Response | Promise<Response>,
  ): Promise<void> {
    try {
      const response = await handle(decode(requestDeserialize, bytes));
      call.send(responseSerialize(response));
      call.end();
    } catch (error) {
      call.fail(this.#refusal(error));
    }
  }

  #refusal(error: unknown): EtcdError {
    if (error instanceof EtcdError) return error;
    this.#failed(error);
    return etcdError('internal');
  }

  #tick(): void {
    const now = this.#clock.monotonic();
    this.#bodies.tick();
    const crowded = this.#output.congested;
    for (const connection of this.#connections.values()) {
      for (const [call, since] of connection.calls) if (since <= now - REQUEST_MS) call.expire();
      const { unary, streams, progress, session } = connection;
      const taken = unary.taken + streams.taken;
      if (!crowded || taken !== progress.taken || unary.untaken + streams.untaken === 0) {
        connection.progress = { taken, since: now };
      } else if (progress.since <= now - STALLED_MS) {
        session.destroy(undefined, http2Numbers.NGHTTP2_ENHANCE_YOUR_CALM);
      }
    }
  }
}

/** A request that can't be decoded is the client's error. */
export function decode<Request>(deserialize: (bytes: Buffer) => Request, bytes: Buffer): Request {
  try {
    return deserialize(bytes);
  } catch (error) {
    if (error instanceof EtcdError) throw error;
    throw new EtcdError(status.INTERNAL, 'grpc: error unmarshalling request');
  }
}

/** The words are those of Go's server, which etcd has. */
function unknownPath(path: string): EtcdError {
  const [, service, method] = /^\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  if (service === undefined) return new EtcdError(status.UNIMPLEMENTED, 'malformed method name');
  return new EtcdError(status.UNIMPLEMENTED, `unknown method ${method} for service ${service}`);
}

const NO_REQUEST = new EtcdError(status.INTERNAL, 'grpc: the request has no message');
