import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { encodeFields, type Field } from '#src/grpc/hpack.ts';
import {
  Flag,
  FrameReader,
  FrameType,
  frame,
  goawayFrame,
  headerFrames,
  MAX_FRAME_BYTES,
  numberFrame,
  PREFACE,
  settingsFrame,
} from '#src/grpc/http2-frames.ts';

/** A frame that the client sent. */
export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export const HEADERS: readonly Field[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];

/** One connection of a server that says what a test wants, well-formed or not. */
export class Http2Peer {
  readonly socket: Socket;
  readonly seen: SeenFrame[] = [];
  #preface = PREFACE.length;

  constructor(socket: Socket, onFrame: (frame: SeenFrame) => void) {
    this.socket = socket;
    socket.on('error', () => {});
    const pieces: Buffer[] = [];
    const take = (header: Omit<SeenFrame, 'payload'>, payload: Buffer) => {
      const whole = Buffer.concat([...pieces.splice(0), payload]);
      const { type, flags, stream } = header;
      const seen = { type, flags, stream, payload: whole };
      this.seen.push(seen);
      onFrame(seen);
    };
    const reader = new FrameReader({
      begin() {},
      piece: (_, bytes) => void pieces.push(Buffer.from(bytes)),
      end: take,
    });
    socket.on('data', (chunk: Buffer) => {
      const rest = chunk.subarray(this.#preface);
      this.#preface -= chunk.length - rest.length;
      reader.push(rest);
    });
  }

  get closed(): boolean {
    return this.socket.destroyed;
  }

  framesOf(type: number): readonly SeenFrame[] {
    return this.seen.filter((frame) => frame.type === type);
  }

  raw(...bytes: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  settings(...settings: readonly (readonly [number, number])[]): void {
    this.raw(settingsFrame(settings));
  }

  headers(stream: number, fields: readonly Field[] = HEADERS, flags = 0): void {
    this.raw(headerFrames(stream, flags, encodeFields(fields), MAX_FRAME_BYTES));
  }

  data(stream: number, bytes: Buffer, flags = 0): void {
    this.raw(frame(FrameType.DATA, flags, stream, bytes));
  }

  /** The end of an answer; without headers before it, all of it. */
  trailers(stream: number, code: number | string, text = '', fields: readonly Field[] = []): void {
    const status: readonly Field[] = [...fields, ['grpc-status', String(code)], ['grpc-message', text]];
    this.headers(stream, status, Flag.END_STREAM);
  }

  /** A whole answer with one message. */
  answer(stream: number, message: string): void {
    this.headers(stream);
    this.data(stream, messageOf(message));
    this.trailers(stream, 0);
  }

  reset(stream: number, reason: number): void {
    this.raw(numberFrame(FrameType.RST_STREAM, stream, reason));
  }

  goaway(last: number, reason: number, text = ''): void {
    const made = goawayFrame(reason);
    made.writeUInt32BE(last, 9);
    made.writeUIntBE(8 + text.length, 0, 3);
    this.raw(made, Buffer.from(text));
  }
}

/** As gRPC puts it into DATA frames. */
export function messageOf(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/** A server on loopback. `script` is played to each connection, and returns what to do at each request’s header. */
export async function listenHttp2(
  t: Pick<TestContext, 'after'>,
  script: (peer: Http2Peer, at: number) => ((stream: number) => void) | undefined,
): Promise<{ readonly port: number; readonly peers: readonly Http2Peer[] }> {
  const peers: Http2Peer[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    let request: ((stream: number) => void) | undefined;
    const peer = new Http2Peer(socket, ({ type, stream }) => {
      if (type === FrameType.HEADERS) request?.(stream);
    });
    request = script(peer, peers.length);
    peers.push(peer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const { socket } of peers) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, peers };
}
