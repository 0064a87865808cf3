import { FieldDecoder } from '#src/grpc/hpack.ts';
import {
  expectValid,
  Flag,
  type FrameHeader,
  FrameType,
  ProtocolError,
  Reason,
} from '#src/grpc/http2-frames.ts';

export interface HeaderBlock {
  readonly stream: number;
  /** Nothing of its stream follows. */
  readonly isEnd: boolean;
  readonly fields: Map<string, string>;
}

interface Unfinished extends Pick<HeaderBlock, 'stream' | 'isEnd'> {
  readonly pieces: Buffer[];
  bytes: number;
}

/** Puts header blocks together, one after another: HEADERS, and CONTINUATION until one says that it is the last (RFC 9113 §4.3). */
export class HeaderBlocks {
  readonly #limit: number;
  readonly #decoder: FieldDecoder;
  #block: Unfinished | undefined;

  /** `limit`: bytes of a block. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#decoder = new FieldDecoder(limit);
  }

  /** @throws {ProtocolError} where a frame may not follow what came before */
  check({ type, stream }: Pick<FrameHeader, 'type' | 'stream'>): void {
    const isContinued = this.#block !== undefined;
    if (isContinued !== (type === FrameType.CONTINUATION)) {
      throw new ProtocolError(Reason.PROTOCOL_ERROR, 'a header block that is not continued');
    }
    if (isContinued && stream !== this.#block?.stream) {
      throw new ProtocolError(Reason.PROTOCOL_ERROR, 'a header block of two streams');
    }
  }

  /** The payload of a HEADERS frame. Returns a block that is whole. */
  begin({ stream, flags }: FrameHeader, payload: Buffer): HeaderBlock | undefined {
    this.#block = { stream, isEnd: (flags & Flag.END_STREAM) !== 0, pieces: [], bytes: 0 };
    return this.goOn(flags, withoutPriority(payload, flags));
  }

  /** The payload of the frame that continues a block. */
  goOn(flags: number, piece: Buffer): HeaderBlock | undefined {
    const block = this.#block;
    if (block === undefined) return undefined;
    block.bytes += piece.length;
    if (block.bytes > this.#limit) {
      throw new ProtocolError(Reason.ENHANCE_YOUR_CALM, 'a header block that is too long');
    }
    if ((flags & Flag.END_HEADERS) === 0) {
      // Of the chunk that came, only this piece is kept.
      block.pieces.push(Buffer.from(piece));
      return undefined;
    }
    this.#block = undefined;
    const whole = block.pieces.length === 0 ? piece : Buffer.concat([...block.pieces, piece]);
    const { stream, isEnd } = block;
    // Read even where the stream is over: later blocks may refer to it.
    return { stream, isEnd, fields: this.#decoder.decode(whole) };
  }
}

function withoutPriority(payload: Buffer, flags: number): Buffer {
  if ((flags & Flag.PRIORITY) === 0) return payload;
  expectValid(payload.length >= 5, 'HEADERS', Reason.FRAME_SIZE_ERROR);
  return payload.subarray(5);
}
