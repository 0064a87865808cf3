/** HTTP/2's frames (RFC 9113), as far as a gRPC client that ignores headers needs them. */

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const;

/** END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING. */
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const HEADER_BYTES = 9;
/** The most that one frame carries, unless the other end says more. */
export const MAX_FRAME_BYTES = 16_384;
/** The largest window there is. */
export const MAX_WINDOW = 2 ** 31 - 1;
/** Before the first WINDOW_UPDATE. */
export const FIRST_WINDOW = 65_535;

const SETTINGS_ENABLE_PUSH = 2;
const SETTINGS_INITIAL_WINDOW_SIZE = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer = EMPTY): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** No push, and as much as the other end likes to send on each stream. */
export function settings(): Buffer {
  const payload = Buffer.alloc(12);
  payload.writeUInt16BE(SETTINGS_ENABLE_PUSH, 0);
  payload.writeUInt16BE(SETTINGS_INITIAL_WINDOW_SIZE, 6);
  payload.writeUInt32BE(MAX_WINDOW, 8);
  return frame(FRAME.settings, 0, 0, payload);
}

export function windowUpdate(stream: number, by: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(by, 0);
  return frame(FRAME.windowUpdate, 0, stream, payload);
}

/** The headers of a gRPC call as literals that are not indexed (RFC 7541, 6.2.2), so that no table has to be kept. */
export function callHeaders(path: string, authority: string): Buffer {
  const text = (value: string): Buffer => Buffer.from([value.length, ...Buffer.from(value)]);
  return Buffer.concat([
    // :method POST and :scheme http are in the static table, and so are the names :path and :authority.
    Buffer.from([0x83, 0x86, 0x04]),
    text(path),
    Buffer.from([0x01]),
    text(authority),
    ...[
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      ['hasleader', 'true'],
    ].flatMap(([name = '', value = '']) => [Buffer.from([0x00]), text(name), text(value)]),
  ]);
}

/** A gRPC message with its prefix: not compressed, and its length. */
export function message(bytes: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + bytes.length);
  framed[0] = 0;
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, 5);
  return framed;
}

export type TakeFrame = (type: number, flags: number, stream: number, payload: Buffer) => void;

/** Cuts what a socket gives into frames. A payload is valid during the call only. */
export class FrameReader {
  #rest: Buffer = EMPTY;

  read(chunk: Buffer, take: TakeFrame): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      const end = at + HEADER_BYTES + length;
      if (end > bytes.length) break;
      take(
        bytes[at + 3] ?? 0,
        bytes[at + 4] ?? 0,
        bytes.readUInt32BE(at + 5) & MAX_WINDOW,
        bytes.subarray(at + HEADER_BYTES, end),
      );
      at = end;
    }
    // A copy, because the socket's buffer is large and lives as long as a part of it.
    this.#rest = at === bytes.length ? EMPTY : Buffer.from(bytes.subarray(at));
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
