import { STATIC_FIELDS } from '#src/grpc/header-fields.ts';
import { decodeHuffman } from '#src/grpc/huffman.ts';

export type Field = readonly [name: string, value: string];

/** A header block that can't be read. Nothing that follows it on the connection can be, either. */
export class HeaderError extends Error {
  override readonly name = 'HeaderError';
}

/** What a field counts beside its text (RFC 7541 §4.1, RFC 9113 §6.5.2). */
const FIELD_BYTES = 32;
/** What both sides begin with; we never ask for another size. */
const TABLE_BYTES = 4096;

const INDEXED = 0x80;
const WITH_INDEXING = 0x40;
const TABLE_SIZE = 0x20;
const NEVER_INDEXED = 0x10;
const HUFFMAN = 0x80;

/**
 * A header block (RFC 7541): each field as it is, neither remembered nor compressed. A `secret` field is one that nobody on
 * the way may remember either.
 */
export function encodeFields(fields: Iterable<Field>, secret: ReadonlySet<string> = NOBODY): Buffer {
  const pieces: Buffer[] = [];
  for (const [name, value] of fields) {
    const kind = secret.has(name) ? NEVER_INDEXED : 0;
    const index = STATIC_NAMES.get(name);
    if (index === undefined) pieces.push(Buffer.of(kind), encodeText(name));
    else pieces.push(encodeInteger(index, 4, kind));
    pieces.push(encodeText(value));
  }
  return Buffer.concat(pieces);
}

const NOBODY: ReadonlySet<string> = new Set();

/** The first number of each name. */
const STATIC_NAMES = new Map(STATIC_FIELDS.map(([name], at) => [name, at + 1] as const).reverse());

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([encodeInteger(bytes.length, 7, 0), bytes]);
}

/** A number that begins in the low `bits` of a byte whose other bits are `kind` (RFC 7541 §5.1). */
function encodeInteger(value: number, bits: number, kind: number): Buffer {
  const most = (1 << bits) - 1;
  if (value < most) return Buffer.of(kind | value);
  const bytes = [kind | most];
  let left = value - most;
  for (; left >= 128; left >>>= 7) bytes.push(128 | (left & 127));
  return Buffer.from([...bytes, left]);
}

/** Reads the header blocks of one connection, in their order: each may refer to fields of those before it. */
export class FieldDecoder {
  readonly #limit: number;
  /** The newest first. */
  readonly #table: Field[] = [];
  #tableBytes = 0;
  #tableLimit = TABLE_BYTES;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  /** `limit`: bytes of all fields of a block, each counted with 32 more. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * The fields of a block. Of a name that comes twice, the last.
   *
   * @throws {HeaderError} when it is none, or more than the limit
   */
  decode(block: Buffer): Map<string, string> {
    this.#block = block;
    this.#at = 0;
    const fields = new Map<string, string>();
    let size = 0;
    while (this.#at < block.length) {
      const field = this.#field(fields.size === 0);
      if (field === undefined) continue;
      size += sizeOf(field);
      if (size > this.#limit) throw new HeaderError('the header fields are too long');
      fields.set(...field);
    }
    this.#block = block.subarray(0, 0);
    return fields;
  }

  #field(isFirst: boolean): Field | undefined {
    const kind = this.#block[this.#at] ?? 0;
    if (kind & INDEXED) return this.#entry(this.#integer(7));
    if (kind & WITH_INDEXING) {
      const field = this.#literal(6);
      this.#remember(field);
      return field;
    }
    if ((kind & TABLE_SIZE) === 0) return this.#literal(4);
    const limit = this.#integer(5);
    if (!isFirst || limit > TABLE_BYTES) throw new HeaderError('a change of the header table that is none');
    this.#tableLimit = limit;
    this.#evict();
    return undefined;
  }

  #literal(bits: number): Field {
    const index = this.#integer(bits);
    const name = index === 0 ? this.#text() : this.#entry(index)[0];
    return [name, this.#text()];
  }

  #entry(index: number): Field {
    const field = STATIC_FIELDS[index - 1] ?? this.#table[index - STATIC_FIELDS.length - 1];
    if (field === undefined) throw new HeaderError(`there is no header field ${index}`);
    return field;
  }

  #text(): string {
    const isCoded = ((this.#block[this.#at] ?? 0) & HUFFMAN) !== 0;
    const length = this.#integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw new HeaderError('a header field is cut off');
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    const text = isCoded ? decodeHuffman(bytes) : bytes.toString('latin1');
    if (text === undefined) throw new HeaderError('a header field is badly coded');
    return text;
  }

  #integer(bits: number): number {
    const most = (1 << bits) - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    // Five bytes would already be more than any number that means something here.
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte();
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new HeaderError('a number in a header block is too large');
  }

  #byte(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new HeaderError('a header block is cut off');
    this.#at++;
    return byte;
  }

  #remember(field: Field): void {
    this.#table.unshift(field);
    this.#tableBytes += sizeOf(field);
    this.#evict();
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableLimit) {
      const oldest = this.#table.pop();
      if (oldest === undefined) return;
      this.#tableBytes -= sizeOf(oldest);
    }
  }
}

const sizeOf = ([name, value]: Field): number => name.length + value.length + FIELD_BYTES;
