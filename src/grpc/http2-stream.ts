import { Flag, FrameType, frame, headerFrames, numberFrame, Reason } from '#src/grpc/http2-frames.ts';

/** What a stream reports. Nothing comes after `ended` or `failed`. */
export interface StreamListener {
  headers(fields: ReadonlyMap<string, string>): void;
  /** Bytes of the body. They count against the stream's window until they are handed back. */
  data(bytes: Buffer): void;
  /** The other side has sent all it will. */
  ended(): void;
  failed(failure: StreamFailure): void;
}

export type StreamFailure =
  /** The other side ended this stream alone. */
  | { readonly kind: 'reset'; readonly reason: number }
  /** The connection is gone, for a reason in words. */
  | { readonly kind: 'lost'; readonly why: string; readonly cause?: unknown }
  /** The other side says that it has done nothing for it. */
  | { readonly kind: 'unprocessed' };

/** What a stream needs of its connection. */
export interface StreamOutput {
  readonly maxFrameBytes: number;
  /** Bytes that the whole connection may send. */
  window: number;
  write(bytes: Buffer): void;
  /** The stream is over for both sides. */
  closed(stream: Http2Stream): void;
}

/** Bytes of a body that the other side may send before any of them has been handed back. */
export const STREAM_WINDOW = 512 << 10;

/** One request and its answer on a connection. */
export class Http2Stream {
  readonly id: number;
  readonly listener: StreamListener;
  readonly #output: StreamOutput;
  #window: number;
  readonly #queue: Buffer[] = [];
  #isEnding = false;
  #sentEnd = false;
  #closed = false;
  #hasHeaders = false;
  /** Bytes that may still come, and those that were handed back without a message about it. */
  #credit = STREAM_WINDOW;
  #returned = 0;

  constructor(output: StreamOutput, options: { id: number; window: number; listener: StreamListener }) {
    this.#output = output;
    this.id = options.id;
    this.#window = options.window;
    this.listener = options.listener;
  }

  get closed(): boolean {
    return this.#closed;
  }

  sendHeaders(block: Buffer): void {
    this.#output.write(headerFrames(this.id, 0, block, this.#output.maxFrameBytes));
  }

  /** Sends bytes of the body as the other side takes them, with the end of it where they are the last. */
  write(bytes: Buffer, isLast = false): void {
    if (this.#closed || this.#isEnding) return;
    if (bytes.length > 0) this.#queue.push(bytes);
    this.#isEnding = isLast;
    this.flush();
  }

  /** No more bytes are sent. */
  end(): void {
    if (this.#closed || this.#isEnding) return;
    this.#isEnding = true;
    this.flush();
  }

  /** Ends the stream from this side; the listener hears no more of it. */
  reset(reason: number): void {
    if (this.#closed) return;
    this.#output.write(numberFrame(FrameType.RST_STREAM, this.id, reason));
    this.#close();
  }

  /** Hands back bytes of the body. */
  giveBack(bytes: number): void {
    this.#returned += bytes;
    if (this.#closed || this.#returned < STREAM_WINDOW / 4) return;
    this.#output.write(numberFrame(FrameType.WINDOW_UPDATE, this.id, this.#returned));
    this.#credit += this.#returned;
    this.#returned = 0;
  }

  /** Sends what the windows allow. */
  flush(): void {
    if (this.#closed || this.#sentEnd) return;
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined) break;
      const room = Math.min(this.#window, this.#output.window, this.#output.maxFrameBytes);
      if (room <= 0) return;
      const piece = next.subarray(0, room);
      if (piece.length === next.length) this.#queue.shift();
      else this.#queue[0] = next.subarray(room);
      this.#window -= piece.length;
      this.#output.window -= piece.length;
      this.#sentEnd = this.#isEnding && this.#queue.length === 0;
      this.#output.write(frame(FrameType.DATA, this.#sentEnd ? Flag.END_STREAM : 0, this.id, piece));
    }
    if (this.#isEnding && !this.#sentEnd) {
      this.#sentEnd = true;
      this.#output.write(frame(FrameType.DATA, Flag.END_STREAM, this.id));
    }
  }

  /** False when the window would be more than there can be (RFC 9113 §6.9.1). */
  widen(by: number): boolean {
    this.#window += by;
    return this.#window <= 0x7fff_ffff;
  }

  /** False when there is more than was allowed. */
  receive(bytes: Buffer, counted: number): boolean {
    this.#credit -= counted;
    if (this.#credit < 0) return false;
    if (bytes.length > 0) this.listener.data(bytes);
    return true;
  }

  /** Where nothing has come before; an informational answer is left aside (RFC 9113 §8.1). */
  receiveHeaders(fields: ReadonlyMap<string, string>, isEnd: boolean): boolean {
    if (!isEnd && fields.get(':status')?.startsWith('1')) return true;
    if (this.#hasHeaders && !isEnd) return false;
    this.#hasHeaders = true;
    this.listener.headers(fields);
    if (isEnd) this.receiveEnd();
    return true;
  }

  receiveEnd(): void {
    if (this.#closed) return;
    if (this.#sentEnd) this.#close();
    // The answer is complete: the rest of the request is of no use.
    else this.reset(Reason.NO_ERROR);
    this.listener.ended();
  }

  fail(failure: StreamFailure): void {
    if (this.#closed) return;
    this.#close();
    this.listener.failed(failure);
  }

  #close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#output.closed(this);
  }
}
