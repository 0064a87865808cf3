import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { encodeStatusMessage, type Status, status } from '#src/grpc/grpc-status.ts';
import { MessageReader, messagePrefix } from '#src/grpc/message-reader.ts';
import { EtcdError } from '#src/store/etcd-error.ts';
import type { LargeBodies } from '#src/store/large-bodies.ts';
import type { OutputAccount } from '#src/store/output-account.ts';
import { http2Numbers } from '#src/sys/http2.ts';
import { inNextTurn } from '#src/sys/next-turn.ts';

/** Requests up to this size are received at any time: it is what HTTP/2 lets a client send unasked. */
const SMALL_BODY_BYTES = 64 * 1024;
/** Answers up to this size are copied into one piece, which costs less than a write for each piece. */
const COPIED_BYTES = 16 * 1024;

export interface GrpcCallComponents {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly output: OutputAccount;
  readonly bodies: LargeBodies;
  /** The answer for whatever a listener throws. */
  readonly refusal: (error: unknown) => EtcdError;
}

export interface GrpcCallOptions {
  /** Bytes of the largest request that is received at all. */
  readonly maxMessageBytes: number;
}

export interface CallListener {
  message(bytes: Buffer): void;
  /** The client sends no more requests. */
  ended(): void;
  /** Called once, when the call has ended on either side. */
  closed(): void;
}

/**
 * One gRPC call: a stream of node's HTTP/2, read message by message and only as fast as its answers are taken
 * (gRPC over HTTP/2, PROTOCOL-HTTP2.md). Nothing here throws because of what a client does, such as resetting the
 * stream at any moment.
 */
export class GrpcCall {
  readonly output: OutputAccount;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #bodies: LargeBodies;
  readonly #refusal: (error: unknown) => EtcdError;
  readonly #reader: MessageReader;
  readonly #maxMessageBytes: number;
  readonly #untaken = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  #listener: CallListener | undefined;
  /** The client has sent all it will. */
  #received = false;
  #finished = false;
  #closed = false;
  #waitsForReader = false;
  #turn: 'none' | 'waiting' | 'receiving' = 'none';

  constructor(components: GrpcCallComponents, { maxMessageBytes }: GrpcCallOptions) {
    const { stream, headers, output, bodies, refusal } = components;
    this.#stream = stream;
    this.#headers = headers;
    this.#bodies = bodies;
    this.#refusal = refusal;
    this.output = output;
    this.#maxMessageBytes = maxMessageBytes;
    this.#reader = new MessageReader(maxMessageBytes);
    // A reset is followed by 'close', which is all that matters of it.
    stream.on('error', () => {});
    stream.on('close', () => this.#close());
    if (stream.destroyed || stream.closed) this.#close();
  }

  get closed(): boolean {
    return this.#closed || this.#finished;
  }

  /**
   * What the client logged in with. Clients of etcd before 3.3 send it as `authorization`. Some send it twice
   * (python-etcd3 over TLS), and Node joins the two with a comma, which no token has in it; etcd takes the first.
   */
  get token(): string | undefined {
    const { token, authorization } = this.#headers;
    return (Array.isArray(token) ? token[0] : token)?.split(',', 1)[0] ?? authorization;
  }

  listen(listener: CallListener): void {
    this.#listener = listener;
    this.#stream.on('data', (chunk: Buffer) => {
      if (!this.#open()) return;
      this.#reader.push(chunk);
      this.#read();
    });
    this.#stream.on('end', () => {
      this.#received = true;
      this.#read();
    });
    if (this.#closed) listener.closed();
  }

  /** Runs work for this call; what it throws ends the call, and no other. */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.throw(error);
    }
  }

  /** Ends the call with the answer for this error. */
  throw(error: unknown): void {
    this.fail(this.#refusal(error));
  }

  /** Sends one message, given in pieces. Large pieces are not copied, so that many calls may share them. */
  send(...pieces: readonly Buffer[]): void {
    if (!this.#open()) return;
    if (!this.#stream.headersSent) this.#stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const all = [messagePrefix(length), ...pieces];
    const written = length <= COPIED_BYTES ? [Buffer.concat(all, length + 5)] : all;
    const last = written.pop() ?? Buffer.alloc(0);
    const returnBytes = this.output.sent(length);
    const taken = (): void => {
      this.#untaken.delete(taken);
      returnBytes();
    };
    this.#untaken.add(taken);
    this.#stream.cork();
    for (const piece of written) this.#stream.write(piece);
    this.#stream.write(last, taken);
    this.#stream.uncork();
  }

  /** Runs the task when the client has taken what it was sent, or when the call is over. */
  whenClear(task: () => void): void {
    if (this.closed) {
      task();
      return;
    }
    let done = false;
    const once = (): void => {
      if (done) return;
      done = true;
      this.#waiting.delete(once);
      task();
    };
    this.#waiting.add(once);
    this.output.whenClear(once);
  }

  /** Ends the call well. */
  end(): void {
    this.#finish(status.OK, '');
  }

  fail({ code, message }: { readonly code: Status; readonly message: string }): void {
    this.#finish(code, message);
  }

  /** Answers with an HTTP status: this is no gRPC. */
  refuse(httpStatus: number): void {
    if (!this.#open()) return;
    this.#over({ ':status': httpStatus });
  }

  /** Ends the call if its request is not complete. */
  expire(): void {
    if (!this.#received && !this.#finished) this.fail(REQUEST_LATE);
  }

  #finish(code: Status, text: string): void {
    if (!this.#open()) return;
    const trailers = { 'grpc-status': String(code), 'grpc-message': encodeStatusMessage(text) };
    const stream = this.#stream;
    if (!stream.headersSent) {
      this.#over({ ...RESPONSE_HEADERS, ...trailers });
      return;
    }
    stream.on('wantTrailers', () => {
      if (stream.destroyed || stream.closed) return;
      stream.sendTrailers(trailers);
      this.#dropRest();
    });
    this.#over();
    stream.end();
  }

  /** Nothing is read from here on. With `headers`, they are all of the answer. */
  #over(headers?: OutgoingHttpHeaders): void {
    this.#finished = true;
    this.#leaveTurn();
    const stream = this.#stream;
    if (headers !== undefined) {
      stream.respond(headers, { endStream: true });
      this.#dropRest();
    }
    stream.resume();
    this.#listener?.closed();
    this.#listener = undefined;
  }

  /** Ends a stream whose request is not wanted any more with a reset that is no error, as gRPC does. */
  #dropRest(): void {
    // The end of the request often comes in the same packet, and is read right after this.
    inNextTurn(() => {
      if (!this.#received && !this.#closed) this.#stream.close(http2Numbers.NGHTTP2_NO_ERROR);
    });
  }

  #open(): boolean {
    return !this.#finished && !this.#closed && !this.#stream.destroyed && !this.#stream.closed;
  }

  #read(): void {
    // A listener that sends may congest the call, and one that ends it wants no more of it.
    while (this.#open() && this.#listener !== undefined && !this.#waitsForReader) {
      if (this.output.congested) {
        this.#waitForReader();
        return;
      }
      const next = this.#reader.next();
      switch (next.kind) {
        case 'message':
          this.#leaveTurn();
          this.attempt(() => this.#listener?.message(next.bytes));
          break;
        case 'incomplete':
          this.#more(next.length);
          return;
        case 'compressed':
          this.fail(COMPRESSED);
          return;
        case 'tooLarge':
          this.fail(
            new EtcdError(
              status.RESOURCE_EXHAUSTED,
              `grpc: received message larger than max (${next.length} vs. ${this.#maxMessageBytes})`,
            ),
          );
          return;
      }
    }
  }

  #more(length: number): void {
    if (this.#received) {
      if (this.#reader.size === 0) this.attempt(() => this.#listener?.ended());
      else this.fail(CUT_OFF);
    } else if (length > SMALL_BODY_BYTES && this.#turn === 'none') {
      this.#turn = 'waiting';
      this.#stream.pause();
      this.#bodies.enter(this.#body, this.#stream.session ?? this);
    }
  }

  readonly #body = {
    begin: (): void => {
      this.#turn = 'receiving';
      this.#stream.resume();
    },
    expire: (): void => this.expire(),
  };

  #leaveTurn(): void {
    if (this.#turn === 'none') return;
    this.#turn = 'none';
    this.#bodies.leave(this.#body);
  }

  /** A client that does not read its answers is not listened to. */
  #waitForReader(): void {
    this.#waitsForReader = true;
    this.#stream.pause();
    this.output.whenClear(() => {
      this.#waitsForReader = false;
      if (!this.#open()) return;
      this.#stream.resume();
      this.#read();
    });
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaveTurn();
    for (const taken of [...this.#untaken]) taken();
    for (const task of [...this.#waiting]) task();
    this.#listener?.closed();
    this.#listener = undefined;
  }
}

const RESPONSE_HEADERS = { ':status': 200, 'content-type': 'application/grpc' };

const COMPRESSED = new EtcdError(
  status.UNIMPLEMENTED,
  'grpc: compressed requests are not supported by this server',
);
const CUT_OFF = new EtcdError(status.INTERNAL, 'grpc: the request ended in the middle of a message');
const REQUEST_LATE = new EtcdError(status.DEADLINE_EXCEEDED, 'grpc: the request took too long to arrive');
