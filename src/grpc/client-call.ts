import { decodeStatusMessage, GrpcError, status } from '#src/grpc/grpc-status.ts';
import type { Field } from '#src/grpc/hpack.ts';
import type { Http2Connection } from '#src/grpc/http2-connection.ts';
import { Reason, reasonName } from '#src/grpc/http2-frames.ts';
import type { Http2Stream, StreamFailure } from '#src/grpc/http2-stream.ts';
import { MessageReader, messagePrefix } from '#src/grpc/message-reader.ts';
import { messageOf } from '#src/lib/errors.ts';

export interface CallListener {
  /** An error that it throws ends the call. */
  message(bytes: Buffer): void;
  /** So many bytes came, and were handed out in messages or are kept until one is complete. */
  received(bytes: number): void;
  /** Called once: the call is over, well without an error. */
  ended(error: GrpcError | undefined): void;
}

export interface CallOptions {
  readonly fields: readonly Field[];
  /** Names of fields that nobody on the way may remember. */
  readonly secret: ReadonlySet<string>;
  /** Bytes of the largest answer. */
  readonly maxMessageBytes: number;
}

/**
 * A call as gRPC puts it on HTTP/2 (PROTOCOL-HTTP2.md). It may be attached to a second connection where the server says that it has
 * done nothing for it on the first: what was sent is kept until something is answered.
 */
export class ClientCall {
  readonly #options: CallOptions;
  readonly #listener: CallListener;
  readonly #reader: MessageReader;
  #stream: Http2Stream | undefined;
  #sent: Buffer[] = [];
  #isAnswered = false;
  #hasEnded = false;
  #hasStatus = false;
  #isOver = false;
  #failure: GrpcError | undefined;
  /** Called when the server did nothing for the call. Returns true when it goes on elsewhere. */
  again: () => boolean = () => false;

  constructor(options: CallOptions, listener: CallListener) {
    this.#options = options;
    this.#listener = listener;
    this.#reader = new MessageReader(options.maxMessageBytes);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Sends what there is to send. */
  attach(connection: Http2Connection): void {
    const { fields, secret } = this.#options;
    const stream = connection.open(fields, secret, {
      headers: (answer) => this.#headers(answer),
      data: (bytes) => this.#data(bytes),
      ended: () => this.#ended(),
      failed: (failure) => this.#failed(failure),
    });
    this.#stream = stream;
    for (const [at, bytes] of this.#sent.entries()) {
      stream.write(bytes, this.#hasEnded && at === this.#sent.length - 1);
    }
    if (this.#hasEnded) stream.end();
  }

  /** Sends one message, when the call is attached. */
  send(message: Buffer): void {
    if (this.#isOver || this.#hasEnded) return;
    const bytes = Buffer.concat([messagePrefix(message.length), message]);
    if (!this.#isAnswered) this.#sent.push(bytes);
    this.#stream?.write(bytes);
  }

  /** No more messages are sent. */
  end(): void {
    this.#hasEnded = true;
    this.#stream?.end();
  }

  /** Bytes that were handed out may come again. */
  giveBack(bytes: number): void {
    this.#stream?.giveBack(bytes);
  }

  /** Ends the call from this side. */
  fail(error: GrpcError): void {
    if (this.#isOver) return;
    this.#stream?.reset(Reason.CANCEL);
    this.#over(error);
  }

  #headers(fields: ReadonlyMap<string, string>): void {
    this.#sent = [];
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      // A call that has an answer is not sent again, even where the connection ends.
      const failure = httpFailure(fields);
      if (failure !== undefined && !fields.has('grpc-status')) {
        this.fail(failure);
        return;
      }
    }
    const code = fields.get('grpc-status');
    if (code === undefined) return;
    const text = decodeStatusMessage(fields.get('grpc-message') ?? '');
    this.#failure = code === '0' ? undefined : new GrpcError(codeOf(code), text);
    this.#hasStatus = true;
  }

  #data(bytes: Buffer): void {
    if (!this.#isAnswered) {
      this.fail(new GrpcError(status.INTERNAL, 'a body without a header'));
      return;
    }
    this.#reader.push(bytes);
    while (!this.#isOver) {
      const next = this.#reader.next();
      if (next.kind === 'incomplete') break;
      if (next.kind === 'message') this.#message(next.bytes);
      else if (next.kind === 'compressed') {
        this.fail(new GrpcError(status.INTERNAL, 'a message that is compressed'));
      } else {
        const most = this.#options.maxMessageBytes;
        const text = `Received message larger than max (${next.length} vs. ${most})`;
        this.fail(new GrpcError(status.RESOURCE_EXHAUSTED, text));
      }
    }
    if (!this.#isOver) this.#listener.received(bytes.length);
  }

  #message(bytes: Buffer): void {
    try {
      this.#listener.message(bytes);
    } catch (error) {
      this.fail(unreadable(error));
    }
  }

  #ended(): void {
    if (this.#isOver) return;
    if (!this.#hasStatus) this.#over(new GrpcError(status.INTERNAL, 'an answer without a status'));
    else if (this.#failure === undefined && this.#reader.size > 0) {
      this.#over(new GrpcError(status.INTERNAL, 'an answer that is cut off'));
    } else this.#over(this.#failure);
  }

  #failed(failure: StreamFailure): void {
    if (this.#isOver) return;
    this.#stream = undefined;
    if (failure.kind === 'unprocessed' && !this.#isAnswered && this.again()) return;
    this.#over(errorOf(failure));
  }

  #over(error: GrpcError | undefined): void {
    this.#isOver = true;
    this.#sent = [];
    this.#listener.ended(error);
  }
}

/** Bytes that are no answer of this method. */
export const unreadable = (error: unknown): GrpcError =>
  new GrpcError(status.INTERNAL, `an answer that can't be read: ${messageOf(error)}`, { cause: error });

function codeOf(text: string): number {
  const code = Number(text);
  return Number.isInteger(code) && code > 0 ? code : status.UNKNOWN;
}

/** An answer that is not gRPC's (gRPC, http-grpc-status-mapping.md). */
function httpFailure(fields: ReadonlyMap<string, string>): GrpcError | undefined {
  const http = fields.get(':status') ?? '';
  const type = fields.get('content-type') ?? '';
  if (http === '200' && type.startsWith('application/grpc')) return undefined;
  const text = http === '200' ? `the server answers ${type || 'nothing known'}` : `HTTP status ${http}`;
  return new GrpcError(HTTP_STATUS[http] ?? (http === '200' ? status.INTERNAL : status.UNKNOWN), text);
}

const HTTP_STATUS: Readonly<Record<string, number>> = {
  400: status.INTERNAL,
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.UNIMPLEMENTED,
  429: status.UNAVAILABLE,
  502: status.UNAVAILABLE,
  503: status.UNAVAILABLE,
  504: status.UNAVAILABLE,
};

function errorOf(failure: StreamFailure): GrpcError {
  switch (failure.kind) {
    case 'unprocessed':
      return new GrpcError(status.UNAVAILABLE, 'the server takes no more calls', { unsent: true });
    case 'lost':
      return new GrpcError(status.UNAVAILABLE, failure.why, { cause: failure.cause });
    case 'reset': {
      const code = RESET_STATUS[failure.reason] ?? status.INTERNAL;
      return new GrpcError(code, `the server ended the call: ${reasonName(failure.reason)}`);
    }
  }
}

const RESET_STATUS: Readonly<Record<number, number>> = {
  [Reason.CANCEL]: status.CANCELLED,
  [Reason.ENHANCE_YOUR_CALM]: status.RESOURCE_EXHAUSTED,
  [Reason.INADEQUATE_SECURITY]: status.PERMISSION_DENIED,
};
