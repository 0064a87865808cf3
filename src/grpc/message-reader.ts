/** A message on the wire: a flag that says whether it is compressed, its length, its bytes (gRPC over HTTP/2). */
const PREFIX = 5;
const EMPTY = Buffer.alloc(0);

/** The five bytes ahead of an uncompressed message. */
export function messagePrefix(length: number): Buffer {
  const prefix = Buffer.alloc(PREFIX);
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

/** What comes next in the bytes that have arrived. */
export type Next =
  | { readonly kind: 'message'; readonly bytes: Buffer }
  /** The rest of a message of this length is still to come; `length` is 0 while the prefix is incomplete. */
  | { readonly kind: 'incomplete'; readonly length: number }
  | { readonly kind: 'compressed' }
  | { readonly kind: 'tooLarge'; readonly length: number };

/**
 * Cuts a call's bytes into messages. A message that came whole is a part of its chunk; one that comes in pieces is
 * put together in a buffer that grows twofold, so that a client that sends single bytes costs no more than it sends.
 */
export class MessageReader {
  readonly #limit: number;
  #buffer: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  /** The buffer was made here, so that there may be room behind its end. */
  #grown = false;

  /** `limit`: bytes of the largest message. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that belong to no message that was handed out. */
  get size(): number {
    return this.#end - this.#start;
  }

  push(chunk: Buffer): void {
    if (this.size === 0) {
      this.#buffer = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#grown = false;
      return;
    }
    const needed = this.size + chunk.length;
    if (!this.#grown || this.#end + chunk.length > this.#buffer.length) {
      // Messages that were handed out lie in the old buffer, which therefore is never written again.
      const grown = Buffer.allocUnsafe(needed * 2);
      this.#buffer.copy(grown, 0, this.#start, this.#end);
      this.#end = this.size;
      this.#start = 0;
      this.#buffer = grown;
      this.#grown = true;
    }
    chunk.copy(this.#buffer, this.#end);
    this.#end += chunk.length;
  }

  next(): Next {
    if (this.size < PREFIX) return { kind: 'incomplete', length: 0 };
    const length = this.#buffer.readUInt32BE(this.#start + 1);
    if (this.#buffer[this.#start] !== 0) return { kind: 'compressed' };
    if (length > this.#limit) return { kind: 'tooLarge', length };
    if (this.size < PREFIX + length) return { kind: 'incomplete', length };
    const from = this.#start + PREFIX;
    this.#start = from + length;
    return { kind: 'message', bytes: this.#buffer.subarray(from, this.#start) };
  }
}
