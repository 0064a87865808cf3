import type { Duplex } from 'node:stream';
import { socketErrorText } from '#src/grpc/grpc-status.ts';
import { type HeaderBlock, HeaderBlocks } from '#src/grpc/header-blocks.ts';
import { encodeFields, type Field, HeaderError } from '#src/grpc/hpack.ts';
import {
  expectValid,
  Flag,
  type FrameHeader,
  FrameReader,
  FrameType,
  frame,
  goawayFrame,
  MAX_FRAME_BYTES,
  numberFrame,
  PREFACE,
  ProtocolError,
  Reason,
  reasonName,
  Setting,
  settingsFrame,
} from '#src/grpc/http2-frames.ts';
import {
  Http2Stream,
  STREAM_WINDOW,
  type StreamFailure,
  type StreamListener,
} from '#src/grpc/http2-stream.ts';
import { type LifeSignOptions, LifeSigns } from '#src/grpc/life-signs.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface ConnectionListener {
  /** A stream can be opened: at the beginning, and when there was no room for another. */
  roomy(): void;
  /** No more streams can be opened. Those that are open go on. */
  draining(): void;
  closed(failure: StreamFailure & { readonly kind: 'lost' }): void;
}

/** Bytes of answers on their way, of all streams together. They are bounded for each stream when they have come. */
const CONNECTION_WINDOW = 8 << 20;
const FIRST_WINDOW = 65_535;
const MOST_WINDOW = 0x7fff_ffff;
const HEADER_BYTES = 64 << 10;
/** What may wait for a side that asks for answers and does not read. Our own requests are smaller. */
const MOST_UNTAKEN_BYTES = 4 << 20;

/** What a connection ends with whose other side speaks something else. */
export const NO_HTTP2 = 'Protocol error: the server does not speak HTTP/2';
const PROTOCOL_ERROR = 'Protocol error: ';

/**
 * The client's side of HTTP/2 (RFC 9113) on a connection that is there. It knows what a client of one server needs: requests, both
 * windows, pings, a server that says goodbye. All that the server can make grow has a bound.
 *
 * Node's own node:http2 does more, and costs a start 15 ms and the daemon 9 MB (docs/performance.md): it brings TLS
 * along for a connection that has none.
 */
export class Http2Connection {
  readonly #socket: Duplex;
  readonly #listener: ConnectionListener;
  readonly #signs: LifeSigns;
  readonly #streams = new Map<number, Http2Stream>();
  readonly #blocks = new HeaderBlocks(HEADER_BYTES);
  readonly #reader: FrameReader;
  readonly #output: ConstructorParameters<typeof Http2Stream>[0];
  #nextId = 1;
  #mostStreams = Number.POSITIVE_INFINITY;
  #streamWindow = FIRST_WINDOW;
  #credit = CONNECTION_WINDOW;
  #isGreeted = false;
  #isDraining = false;
  #isClosed = false;
  #why: string | undefined;
  #isCorked = false;

  constructor(
    { clock, socket }: { readonly clock: Clock; readonly socket: Duplex },
    listener: ConnectionListener,
    options: LifeSignOptions,
  ) {
    this.#socket = socket;
    this.#listener = listener;
    this.#signs = new LifeSigns(clock, options, {
      ask: () => this.#write(frame(FrameType.PING, 0, 0, Buffer.alloc(8))),
      silent: (why) => this.#lose(why),
    });
    this.#output = {
      maxFrameBytes: MAX_FRAME_BYTES,
      window: FIRST_WINDOW,
      write: (bytes) => this.#write(bytes),
      closed: (stream) => this.#forget(stream),
    };
    this.#reader = new FrameReader({
      begin: (header) => this.#check(header),
      piece: (header, bytes) => this.#receive(header, bytes, bytes.length),
      end: (header, payload) => this.#take(header, payload),
    });
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#socket.on('error', (error) => this.#lose(socketErrorText(error), error));
    const ended = () => this.#lose(this.#why ?? 'connection closed');
    this.#socket.on('end', ended);
    this.#socket.on('close', ended);
    this.#write(greeting());
    this.#signs.awaitGreeting();
  }

  get canOpen(): boolean {
    return this.#isGreeted && !this.#isDraining && !this.#isClosed && this.#streams.size < this.#mostStreams;
  }

  /** Opens a stream with these header fields. To be called only where {@link canOpen}. */
  open(fields: Iterable<Field>, secret: ReadonlySet<string>, listener: StreamListener): Http2Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new Http2Stream(this.#output, { id, window: this.#streamWindow, listener });
    this.#streams.set(id, stream);
    stream.sendHeaders(encodeFields(fields, secret));
    this.#signs.watch();
    // A client's numbers end there (RFC 9113 §5.1.1).
    if (this.#nextId > MOST_WINDOW) {
      this.#drain();
      this.#listener.draining();
    }
    return stream;
  }

  /** Streams that are open go on; the connection ends with the last of them. */
  close(): void {
    this.#drain();
  }

  #read(chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#signs.heard();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** A frame begins. What must not come at all, or not so long, ends the connection before any of it is kept. */
  #check({ type, length, stream }: FrameHeader): void {
    if (this.#isClosed) throw new ProtocolError(Reason.NO_ERROR, 'connection closed');
    if (!this.#isGreeted && type !== FrameType.SETTINGS) {
      throw new ProtocolError(Reason.PROTOCOL_ERROR, NO_HTTP2.slice(PROTOCOL_ERROR.length));
    }
    if (length > MAX_FRAME_BYTES) {
      throw new ProtocolError(Reason.FRAME_SIZE_ERROR, `a frame of ${length} bytes`);
    }
    this.#blocks.check({ type, stream });
  }

  #take(header: FrameHeader, payload: Buffer): void {
    const { type, flags, stream, length } = header;
    switch (type) {
      case FrameType.DATA:
        if (flags & Flag.PADDED) this.#receive(header, unpadded(payload, flags), length);
        if (flags & Flag.END_STREAM) this.#streamOf(stream)?.receiveEnd();
        return;
      case FrameType.HEADERS:
        this.#handBlock(this.#blocks.begin(header, unpadded(payload, flags)));
        return;
      case FrameType.CONTINUATION:
        this.#handBlock(this.#blocks.goOn(flags, payload));
        return;
      case FrameType.RST_STREAM:
        expectValid(length === 4, 'RST_STREAM', Reason.FRAME_SIZE_ERROR);
        this.#reset(this.#streamOf(stream), payload.readUInt32BE());
        return;
      case FrameType.SETTINGS:
        this.#settings(stream, flags, payload);
        return;
      case FrameType.PUSH_PROMISE:
        throw new ProtocolError(Reason.PROTOCOL_ERROR, 'a push that was refused');
      case FrameType.PING:
        expectValid(length === 8, 'PING', Reason.FRAME_SIZE_ERROR);
        expectValid(stream === 0, 'PING');
        if ((flags & Flag.ACK) === 0) this.#acknowledge(FrameType.PING, payload);
        return;
      case FrameType.GOAWAY:
        expectValid(stream === 0 && length >= 8, 'GOAWAY');
        this.#goodbye(payload);
        return;
      case FrameType.WINDOW_UPDATE:
        expectValid(length === 4, 'WINDOW_UPDATE', Reason.FRAME_SIZE_ERROR);
        this.#widen(stream, payload.readUInt32BE() & MOST_WINDOW);
        return;
      default:
        // PRIORITY means nothing to a client, and unknown frames are left aside (RFC 9113 §5.5).
        return;
    }
  }

  /** The stream of a number; `undefined` for one that is over. */
  #streamOf(id: number): Http2Stream | undefined {
    if (id === 0 || id % 2 === 0 || id >= this.#nextId) {
      throw new ProtocolError(Reason.PROTOCOL_ERROR, `a stream ${id} that nobody opened`);
    }
    return this.#streams.get(id);
  }

  #receive({ stream }: FrameHeader, bytes: Buffer, counted: number): void {
    this.#credit -= counted;
    const open = this.#streamOf(stream);
    const isAllowed = this.#credit >= 0 && (open?.receive(bytes, counted) ?? true);
    if (!isAllowed) throw new ProtocolError(Reason.FLOW_CONTROL_ERROR, 'more than was allowed');
    if (open !== undefined && counted > bytes.length) open.giveBack(counted - bytes.length);
    // What is kept is bounded for each stream, so that a stream that nobody reads does not hold up the others.
    const used = CONNECTION_WINDOW - this.#credit;
    if (used < CONNECTION_WINDOW / 4) return;
    this.#write(numberFrame(FrameType.WINDOW_UPDATE, 0, used));
    this.#credit = CONNECTION_WINDOW;
  }

  #handBlock(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const stream = this.#streamOf(block.stream);
    if (stream?.receiveHeaders(block.fields, block.isEnd) === false) {
      stream.fail({ kind: 'reset', reason: Reason.PROTOCOL_ERROR });
      this.#write(numberFrame(FrameType.RST_STREAM, block.stream, Reason.PROTOCOL_ERROR));
    }
  }

  #reset(stream: Http2Stream | undefined, reason: number): void {
    stream?.fail(reason === Reason.REFUSED_STREAM ? { kind: 'unprocessed' } : { kind: 'reset', reason });
  }

  #settings(stream: number, flags: number, payload: Buffer): void {
    expectValid(stream === 0, 'SETTINGS');
    if (flags & Flag.ACK) return;
    expectValid(payload.length % 6 === 0, 'SETTINGS', Reason.FRAME_SIZE_ERROR);
    for (let at = 0; at < payload.length; at += 6) {
      this.#set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    }
    this.#acknowledge(FrameType.SETTINGS, NOTHING);
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    this.#signs.stop();
    this.#listener.roomy();
  }

  #set(setting: number, value: number): void {
    switch (setting) {
      case Setting.MAX_CONCURRENT_STREAMS:
        this.#mostStreams = value;
        this.#makeRoom();
        return;
      case Setting.INITIAL_WINDOW_SIZE: {
        expectValid(value <= MOST_WINDOW, 'SETTINGS', Reason.FLOW_CONTROL_ERROR);
        const by = value - this.#streamWindow;
        this.#streamWindow = value;
        for (const open of this.#streams.values()) {
          expectValid(open.widen(by), 'SETTINGS', Reason.FLOW_CONTROL_ERROR);
          open.flush();
        }
        return;
      }
      default:
        // Larger frames are never sent, and what we send is not compressed.
        return;
    }
  }

  #widen(id: number, by: number): void {
    expectValid(by > 0, 'WINDOW_UPDATE');
    if (id !== 0) {
      const stream = this.#streamOf(id);
      expectValid(stream?.widen(by) ?? true, 'WINDOW_UPDATE', Reason.FLOW_CONTROL_ERROR);
      stream?.flush();
      return;
    }
    this.#output.window += by;
    expectValid(this.#output.window <= MOST_WINDOW, 'WINDOW_UPDATE', Reason.FLOW_CONTROL_ERROR);
    for (const stream of this.#streams.values()) stream.flush();
  }

  #goodbye(payload: Buffer): void {
    const last = payload.readUInt32BE() & MOST_WINDOW;
    const reason = payload.readUInt32BE(4);
    if (reason !== Reason.NO_ERROR) {
      const text = payload.toString('latin1', 8, 8 + LONGEST_REASON).replaceAll(/[^ -~]/g, '?');
      this.#why = `the server ends the connection: ${reasonName(reason)}${text && ` (${text})`}`;
    }
    this.#isDraining = true;
    for (const stream of [...this.#streams.values()]) {
      if (stream.id > last) stream.fail({ kind: 'unprocessed' });
    }
    this.#drain();
    this.#listener.draining();
  }

  #drain(): void {
    this.#isDraining = true;
    if (this.#streams.size === 0) this.#lose(this.#why ?? 'connection closed', undefined, Reason.NO_ERROR);
  }

  #forget(stream: Http2Stream): void {
    this.#streams.delete(stream.id);
    if (this.#isClosed) return;
    if (this.#streams.size === 0) this.#signs.stop();
    if (this.#isDraining) this.#drain();
    else this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.canOpen) this.#listener.roomy();
  }

  /** All that is written in one turn goes out at once. */
  #write(bytes: Buffer): void {
    if (this.#isClosed) return;
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      queueMicrotask(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }

  /** Answers what the other side may ask as often as it likes. */
  #acknowledge(type: number, payload: Buffer): void {
    this.#write(frame(type, Flag.ACK, 0, payload));
    if (this.#socket.writableLength > MOST_UNTAKEN_BYTES) this.#lose('the server does not read');
  }

  #refuse(error: unknown): void {
    if (this.#isClosed) return;
    const [reason, why] =
      error instanceof ProtocolError
        ? [error.reason, error.message]
        : error instanceof HeaderError
          ? [Reason.COMPRESSION_ERROR, error.message]
          : [Reason.INTERNAL_ERROR, messageOf(error)];
    this.#lose(PROTOCOL_ERROR + why, error, reason);
  }

  #lose(why: string, cause?: unknown, reason?: number): void {
    if (this.#isClosed) return;
    if (reason !== undefined) this.#write(goawayFrame(reason));
    this.#isClosed = true;
    this.#signs.stop();
    // The last words are to arrive, but a side that takes none is not waited for.
    if (reason === undefined || this.#socket.writableNeedDrain) this.#socket.destroy();
    else this.#socket.end(() => this.#socket.destroy());
    const failure = { kind: 'lost', why, cause } as const;
    for (const stream of [...this.#streams.values()]) stream.fail(failure);
    this.#listener.closed(failure);
  }
}

const LONGEST_REASON = 200;
const NOTHING = Buffer.alloc(0);

function greeting(): Buffer {
  const settings = settingsFrame([
    [Setting.ENABLE_PUSH, 0],
    [Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW],
    [Setting.MAX_HEADER_LIST_SIZE, HEADER_BYTES],
  ]);
  const window = numberFrame(FrameType.WINDOW_UPDATE, 0, CONNECTION_WINDOW - FIRST_WINDOW);
  return Buffer.concat([PREFACE, settings, window]);
}

function unpadded(payload: Buffer, flags: number): Buffer {
  if ((flags & Flag.PADDED) === 0) return payload;
  const padding = payload[0] ?? Number.POSITIVE_INFINITY;
  expectValid(padding < payload.length, 'padding');
  return payload.subarray(1, payload.length - padding);
}
