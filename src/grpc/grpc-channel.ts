import { type CallListener, ClientCall } from '#src/grpc/client-call.ts';
import { GrpcError, socketErrorText, status } from '#src/grpc/grpc-status.ts';
import { Http2Connection } from '#src/grpc/http2-connection.ts';
import type { LifeSignOptions } from '#src/grpc/life-signs.ts';
import { MessageQueue } from '#src/grpc/message-queue.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { OpeningStream, OpenStream, StreamTarget } from '#src/sys/stream-socket.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';

/** One method of a generated service definition. */
export interface Method<Request, Answer> {
  readonly path: string;
  requestSerialize(request: Request): Buffer;
  responseDeserialize(bytes: Buffer): Answer;
}

/** Fields of a call's header: lower-case names, printable ASCII. */
export type Metadata = Readonly<Record<string, string>>;

export interface ChannelComponents {
  readonly clock: Clock;
  readonly open: OpenStream;
}

export interface ChannelOptions extends LifeSignOptions {
  /** Bytes of the largest answer. */
  readonly maxMessageBytes: number;
  /** Metadata that nobody on the way may remember. */
  readonly secret?: readonly string[];
}

export interface CallSettings {
  readonly metadata?: Metadata;
  /** For all of the call, connecting included. */
  readonly timeoutMs?: number;
}

/** A call of which both sides may be many messages. */
export interface DuplexCall<Request, Answer> extends AsyncIterable<Answer> {
  write(request: Request): void;
  /** No more requests come. */
  end(): void;
  /** Ends the call; the answers end with CANCELLED. Does nothing when it is over. */
  cancel(): void;
}

/**
 * Calls of one server, all over one connection, which the first call makes. Nothing is tried again but a call that the server
 * says it has not begun (GOAWAY, REFUSED_STREAM), once: pauses are the caller's.
 */
export class GrpcChannel {
  readonly #clock: Clock;
  readonly #open: OpenStream;
  readonly #target: StreamTarget;
  readonly #options: ChannelOptions;
  readonly #secret: ReadonlySet<string>;
  readonly #waiting = new Set<ClientCall>();
  readonly #triedTwice = new WeakSet<ClientCall>();
  #opening: OpeningStream | undefined;
  #connection: Http2Connection | undefined;
  #isClosed = false;

  constructor({ clock, open }: ChannelComponents, target: StreamTarget, options: ChannelOptions) {
    this.#clock = clock;
    this.#open = open;
    this.#target = target;
    this.#options = options;
    this.#secret = new Set(options.secret);
  }

  /**
   * One request and its answer.
   *
   * @throws {GrpcError}; the signal's reason when it aborts
   */
  async unary<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    settings: CallSettings,
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    let answer: { readonly message: Answer } | undefined;
    const call = this.#begin(method, settings, {
      message: (bytes) => {
        if (answer === undefined) answer = { message: method.responseDeserialize(bytes) };
        else call.fail(new GrpcError(status.INTERNAL, 'two answers to one request'));
      },
      received: (bytes) => call.giveBack(bytes),
      ended: (error) => {
        if (error !== undefined) reject(error);
        else if (answer === undefined) reject(new GrpcError(status.INTERNAL, 'an answer without a message'));
        else resolve(answer.message);
      },
    });
    const abort = () => call.fail(new GrpcError(status.CANCELLED, 'aborted', { cause: signal.reason }));
    signal.addEventListener('abort', abort, { once: true });
    try {
      call.send(method.requestSerialize(request));
      call.end();
      this.#start(call);
      return await promise;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** A call of many messages. It begins at once. Its answers end with a {@link GrpcError} unless the server ends it well. */
  duplex<Request, Answer>(
    method: Method<Request, Answer>,
    settings: CallSettings = {},
  ): DuplexCall<Request, Answer> {
    const queue = new MessageQueue<Answer>(
      (bytes) => method.responseDeserialize(bytes),
      (bytes) => call.giveBack(bytes),
    );
    const call = this.#begin(method, settings, queue);
    this.#start(call);
    const cancel = () => call.fail(new GrpcError(status.CANCELLED, 'cancelled'));
    return {
      write: (request) => call.send(method.requestSerialize(request)),
      end: () => call.end(),
      cancel,
      async *[Symbol.asyncIterator]() {
        try {
          for (;;) {
            const next = await queue.next();
            if (next === undefined) return;
            yield next.message;
          }
        } finally {
          cancel();
        }
      },
    };
  }

  /** Calls that are under way go on, and the connection ends with the last. One that has not begun fails. */
  close(): void {
    this.#isClosed = true;
    this.#opening?.destroy();
    this.#connection?.close();
    this.#failWaiting(new GrpcError(status.UNAVAILABLE, 'the connection was given up', { unsent: true }));
  }

  #begin(
    { path }: { readonly path: string },
    { metadata = {}, timeoutMs }: CallSettings,
    listener: CallListener,
  ): ClientCall {
    const { host, port, tls } = this.#target;
    const call: ClientCall = new ClientCall(
      {
        fields: [
          [':method', 'POST'],
          [':scheme', tls === undefined ? 'http' : 'https'],
          [':path', path],
          [':authority', `${host.includes(':') ? `[${host}]` : host}:${port}`],
          ['te', 'trailers'],
          ['content-type', 'application/grpc'],
          ['user-agent', 'weft'],
          ...(timeoutMs === undefined ? [] : [['grpc-timeout', `${Math.ceil(timeoutMs)}m`] as const]),
          ...Object.entries(metadata),
        ],
        secret: this.#secret,
        maxMessageBytes: this.#options.maxMessageBytes,
      },
      {
        message: (bytes) => listener.message(bytes),
        received: (bytes) => listener.received(bytes),
        ended: (error) => {
          deadline?.stop();
          this.#waiting.delete(call);
          listener.ended(error);
        },
      },
    );
    const deadline: Timer | undefined =
      timeoutMs === undefined
        ? undefined
        : startTimer(this.#clock, timeoutMs, () => {
            call.fail(new GrpcError(status.DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`));
          });
    call.again = () => this.#again(call);
    return call;
  }

  #start(call: ClientCall): void {
    if (call.isOver) return;
    if (this.#isClosed) {
      call.fail(new GrpcError(status.UNAVAILABLE, 'the connection was given up', { unsent: true }));
      return;
    }
    this.#waiting.add(call);
    if (this.#connection === undefined) this.#connect();
    else this.#attach(this.#connection);
  }

  #again(call: ClientCall): boolean {
    if (this.#isClosed || this.#triedTwice.has(call)) return false;
    this.#triedTwice.add(call);
    this.#waiting.add(call);
    // A server that refuses one call may go on with others, but the same connection would only be refused again.
    const before = this.#connection;
    this.#connection = undefined;
    before?.close();
    this.#connect();
    return true;
  }

  #connect(): void {
    if (this.#opening !== undefined) return;
    const opening = this.#open(this.#target);
    this.#opening = opening;
    const late = startTimer(this.#clock, this.#options.greetingMs, () => {
      opening.destroy(new Error(`connect ETIMEDOUT ${this.#target.host}:${this.#target.port}`));
    });
    opening.opened.then(
      (socket) => {
        late.stop();
        this.#opening = undefined;
        if (this.#isClosed) socket.destroy();
        else this.#use(socket);
      },
      (error: unknown) => {
        late.stop();
        this.#opening = undefined;
        this.#failWaiting(unconnected(error));
      },
    );
  }

  #use(socket: ConstructorParameters<typeof Http2Connection>[0]['socket']): void {
    const connection: Http2Connection = new Http2Connection(
      { clock: this.#clock, socket },
      {
        roomy: () => {
          if (this.#connection === connection) this.#attach(connection);
        },
        draining: () => this.#leave(connection),
        closed: ({ why, cause }) =>
          this.#leave(connection, new GrpcError(status.UNAVAILABLE, why, { cause, unsent: true })),
      },
      this.#options,
    );
    this.#connection = connection;
  }

  #attach(connection: Http2Connection): void {
    for (const call of this.#waiting) {
      if (!connection.canOpen) return;
      this.#waiting.delete(call);
      call.attach(connection);
    }
  }

  /** The next call makes another connection. Calls that waited for room in this one wait for that, once. */
  #leave(connection: Http2Connection, error?: GrpcError): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    if (error !== undefined) {
      this.#failWaiting(error);
      return;
    }
    for (const call of [...this.#waiting]) {
      this.#waiting.delete(call);
      if (!this.#again(call)) {
        call.fail(new GrpcError(status.UNAVAILABLE, 'the server takes no more calls', { unsent: true }));
      }
    }
  }

  #failWaiting(error: GrpcError): void {
    for (const call of [...this.#waiting]) call.fail(error);
  }
}

const unconnected = (error: unknown): GrpcError =>
  new GrpcError(status.UNAVAILABLE, socketErrorText(error), { unsent: true, cause: error });
