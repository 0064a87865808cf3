/** The client's first bytes (RFC 9113 section 3.4), which no HTTP/1 request begins with. */
export const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

const FRAME_HEADER = 9;
const FRAME = { HEADERS: 1, SETTINGS: 4, PING: 6 } as const;
const FLAG = { ACK: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const;
/** More than a client may send before it got the server's first window updates. */
const MAX_BYTES = 128 << 10;
/** The largest frame before SETTINGS say otherwise (RFC 9113 section 4.2). */
const MAX_FRAME = 16_384;

/** An empty SETTINGS frame: the least a server may begin with, so that the client goes on. */
export const EMPTY_SETTINGS = Buffer.of(0, 0, 0, FRAME.SETTINGS, 0, 0, 0, 0, 0);

/**
 * Makes the beginning of etcdctl's HTTP/2 connections digestible. For `endpoint status` (Maintenance calls, up to
 * etcd 3.4 at least) etcdctl sends the whole endpoint, `http://127.0.0.1:2379`, as `:authority`. Go takes that; nghttp2,
 * which is node's HTTP/2, ends the stream with PROTOCOL_ERROR as RFC 9113 section 8.3.1 has it, and there is no option
 * to turn that off. Nobody uses the value, so its slashes are made dots before nghttp2 sees them.
 *
 * A client sends headers only when it has seen the server's SETTINGS. So an empty one goes out ahead of nghttp2's
 * own, and the client's acknowledgement of it is taken out of what nghttp2 is given.
 */
export class Http2Greeting {
  #buffer = Buffer.alloc(512);
  #length = 0;
  /** The frame that comes next; what is before it has been looked at. */
  #next = HTTP2_PREFACE.length;
  #acknowledged = false;
  #complete = false;

  /** The client has answered the empty SETTINGS, so that what was read may be handed on, whatever is missing. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Takes bytes as they come, the preface first. `ready`: hand over {@link bytes}; `bad`: this is no client. */
  push(chunk: Buffer): 'more' | 'ready' | 'bad' {
    if (this.#length + chunk.length > MAX_BYTES) return 'bad';
    this.#append(chunk);
    while (this.#next + FRAME_HEADER <= this.#length) {
      const size = this.#buffer.readUIntBE(this.#next, 3);
      if (size > MAX_FRAME) return 'bad';
      const end = this.#next + FRAME_HEADER + size;
      if (end > this.#length) break;
      this.#frame(end);
    }
    return this.#complete && this.#acknowledged ? 'ready' : 'more';
  }

  /** The buffer grows twofold, so that single bytes cost no more than they are. */
  #append(chunk: Buffer): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.alloc(needed * 2);
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    chunk.copy(this.#buffer, this.#length);
    this.#length = needed;
  }

  /** Looks at the frame that ends at `end`, once. */
  #frame(end: number): void {
    const type = this.#buffer[this.#next + 3];
    const flags = this.#buffer[this.#next + 4] ?? 0;
    if (type === FRAME.SETTINGS && (flags & FLAG.ACK) !== 0 && !this.#acknowledged) {
      this.#acknowledged = true;
      this.#buffer.copyWithin(this.#next, end, this.#length);
      this.#length -= end - this.#next;
      return;
    }
    if (type === FRAME.HEADERS) {
      repairHeaders(this.#buffer.subarray(this.#next + FRAME_HEADER, end), flags);
    }
    // With a ping there is somebody who waits for an answer.
    if (type === FRAME.HEADERS || type === FRAME.PING) this.#complete = true;
    this.#next = end;
  }
}

/** Repairs `:authority` in place, in the payload of a HEADERS frame that holds all headers. Lengths stay as they are. */
function repairHeaders(payload: Buffer, flags: number): void {
  if ((flags & FLAG.END_HEADERS) === 0) return;
  const padded = (flags & FLAG.PADDED) !== 0;
  const start = (padded ? 1 : 0) + ((flags & FLAG.PRIORITY) === 0 ? 0 : 5);
  const block = payload.subarray(start, payload.length - (padded ? (payload[0] ?? 0) : 0));
  const reader = new BlockReader(block);
  while (!reader.done) {
    const value = reader.next();
    if (value !== undefined) repairAuthority(value.bytes, value.huffman);
  }
}

/** Walks a header block (RFC 7541 section 6) without decoding it. */
class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get done(): boolean {
    return this.#at >= this.#block.length;
  }

  /** Steps over one field; returns the value if it is a literal `:authority`. */
  next(): { readonly bytes: Buffer; readonly huffman: boolean } | undefined {
    const first = this.#block[this.#at] ?? 0;
    if ((first & 0x80) !== 0) {
      this.#integer(7);
      return undefined;
    }
    if ((first & 0xe0) === 0x20) {
      this.#integer(5);
      return undefined;
    }
    const name = this.#integer((first & 0x40) === 0 ? 4 : 6);
    if (name === 0) this.#string();
    const value = this.#string();
    return name === AUTHORITY ? value : undefined;
  }

  #string(): { readonly bytes: Buffer; readonly huffman: boolean } {
    const huffman = ((this.#block[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    this.#at += length;
    return { bytes: this.#block.subarray(this.#at - length, this.#at), huffman };
  }

  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.#block[this.#at++] ?? 0) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#block[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) break;
    }
    return value;
  }
}

/** `:authority` in HPACK's static table (RFC 7541 appendix A). */
const AUTHORITY = 1;
const SCHEMES = ['http://', 'https://'];
/** The codes that are needed of RFC 7541 appendix B; `/` and `.` have the same length, so that nothing moves. */
const HUFFMAN: Readonly<Record<string, string>> = {
  h: '100111',
  t: '01001',
  p: '101011',
  s: '01000',
  ':': '1011100',
  '/': '011000',
  '.': '010111',
};

function repairAuthority(value: Buffer, huffman: boolean): void {
  for (const scheme of SCHEMES) {
    const repaired = scheme.replaceAll('/', '.');
    if (!huffman) {
      if (value.subarray(0, scheme.length).equals(Buffer.from(scheme))) value.write(repaired);
      continue;
    }
    const wanted = huffmanBits(scheme);
    const head = value.subarray(0, Math.ceil(wanted.length / 8));
    const bits = Array.from(head, (byte) => byte.toString(2).padStart(8, '0')).join('');
    if (!bits.startsWith(wanted)) continue;
    const changed = huffmanBits(repaired) + bits.slice(wanted.length);
    for (let index = 0; index < head.length; index++) {
      head[index] = Number.parseInt(changed.slice(index * 8, index * 8 + 8), 2);
    }
  }
}

function huffmanBits(text: string): string {
  return Array.from(text, (letter) => HUFFMAN[letter] ?? '').join('');
}
