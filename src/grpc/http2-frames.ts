/** Frames of HTTP/2 (RFC 9113 §4 and §6): nine bytes of header, and a payload. */
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** Why a stream or a connection ends (RFC 9113 §7). */
export const Reason = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

const REASON_NAMES = new Map<number, string>(Object.entries(Reason).map(([name, code]) => [code, name]));
export const reasonName = (code: number): string => REASON_NAMES.get(code) ?? `error ${code}`;

/** The other side breaks the protocol. */
export class ProtocolError extends Error {
  /** See {@link Reason}. */
  readonly reason: number;
  constructor(reason: number, text: string) {
    super(text);
    this.reason = reason;
  }
}

/** @throws {ProtocolError} where it does not hold */
export function expectValid(holds: boolean, what: string, reason: number = Reason.PROTOCOL_ERROR): void {
  if (!holds) throw new ProtocolError(reason, `a ${what} that is none`);
}

/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const HEADER_BYTES = 9;
/** The largest payload that is sent to a side that has not asked for more. */
export const MAX_FRAME_BYTES = 16_384;

export interface FrameHeader {
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
}

export function frame(type: number, flags: number, stream: number, ...payload: readonly Buffer[]): Buffer {
  const length = payload.reduce((sum, piece) => sum + piece.length, 0);
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, ...payload], HEADER_BYTES + length);
}

export function settingsFrame(settings: Iterable<readonly [setting: number, value: number]>): Buffer {
  const payload = Array.from(settings, ([setting, value]) => {
    const bytes = Buffer.allocUnsafe(6);
    bytes.writeUInt16BE(setting);
    bytes.writeUInt32BE(value, 2);
    return bytes;
  });
  return frame(FrameType.SETTINGS, 0, 0, ...payload);
}

/** A frame whose payload is one number of 32 bits. */
export const numberFrame = (
  type: typeof FrameType.RST_STREAM | typeof FrameType.WINDOW_UPDATE,
  stream: number,
  number: number,
): Buffer => frame(type, 0, stream, uint32(number));

export const goawayFrame = (reason: number): Buffer =>
  frame(FrameType.GOAWAY, 0, 0, uint32(0), uint32(reason));

/** A header block in as many frames as it needs; `flags` are those of the first. */
export function headerFrames(stream: number, flags: number, block: Buffer, most: number): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  do {
    const piece = block.subarray(at, at + most);
    at += piece.length;
    const end = at >= block.length ? Flag.END_HEADERS : 0;
    const isFirst = pieces.length === 0;
    const type = isFirst ? FrameType.HEADERS : FrameType.CONTINUATION;
    pieces.push(frame(type, (isFirst ? flags : 0) | end, stream, piece));
  } while (at < block.length);
  return Buffer.concat(pieces);
}

function uint32(number: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(number);
  return bytes;
}

export interface FrameSink {
  /** Called when a frame's header has come. Throws to end the reading. */
  begin(header: FrameHeader): void;
  /** A piece of the payload of a DATA frame without padding, as it came. */
  piece(header: FrameHeader, bytes: Buffer): void;
  /** The frame is complete. The payload is empty where it was handed out in pieces. */
  end(header: FrameHeader, payload: Buffer): void;
}

const NOTHING = Buffer.alloc(0);

/**
 * Cuts a connection's bytes into frames. Payloads of DATA are handed out as they come and are never copied; others are
 * put together. The sink refuses a frame that is too long when it begins, so that what is put together is bounded.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #headerBytes = Buffer.alloc(HEADER_BYTES);
  #headerEnd = 0;
  #header: FrameHeader | undefined;
  #left = 0;
  #payload: Buffer = NOTHING;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Throws what the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#header === undefined) {
        const copied = chunk.copy(this.#headerBytes, this.#headerEnd, at);
        at += copied;
        this.#headerEnd += copied;
        if (this.#headerEnd === HEADER_BYTES) this.#begin();
        continue;
      }
      const piece = chunk.subarray(at, at + this.#left);
      at += piece.length;
      this.#take(this.#header, piece);
    }
  }

  #begin(): void {
    const bytes = this.#headerBytes;
    const header = {
      length: bytes.readUIntBE(0, 3),
      type: bytes[3] ?? 0,
      flags: bytes[4] ?? 0,
      stream: bytes.readUInt32BE(5) & 0x7fff_ffff,
    };
    this.#sink.begin(header);
    this.#headerEnd = 0;
    this.#header = header;
    this.#left = header.length;
    if (this.#left === 0) this.#finish(header, NOTHING);
  }

  #take(header: FrameHeader, piece: Buffer): void {
    const isWhole = piece.length === header.length;
    this.#left -= piece.length;
    if (header.type === FrameType.DATA && (header.flags & Flag.PADDED) === 0) {
      this.#sink.piece(header, piece);
      if (this.#left === 0) this.#finish(header, NOTHING);
    } else if (isWhole) {
      this.#finish(header, piece);
    } else {
      if (this.#payload === NOTHING) this.#payload = Buffer.allocUnsafe(header.length);
      piece.copy(this.#payload, header.length - this.#left - piece.length);
      if (this.#left === 0) this.#finish(header, this.#payload);
    }
  }

  #finish(header: FrameHeader, payload: Buffer): void {
    this.#header = undefined;
    this.#payload = NOTHING;
    this.#sink.end(header, payload);
  }
}
