import { WeftError } from '#src/lib/errors.ts';

/** What a VICI message holds: texts, lists of texts, and sections of the same, by name. */
export interface ViciSection {
  readonly [name: string]: ViciValue;
}
export type ViciValue = string | readonly string[] | ViciSection;

/** The elements of a message (strongSwan, src/libcharon/plugins/vici/README.md, "Message format"). */
const SECTION_START = 1;
const SECTION_END = 2;
const KEY_VALUE = 3;
const LIST_START = 4;
const LIST_ITEM = 5;
const LIST_END = 6;

const NAME_BYTES = 0xff;
const VALUE_BYTES = 0xffff;
/** charon's own messages have five levels. */
const DEEPEST = 16;

/**
 * The message in bytes. A name has at most 255 bytes, a value 65,535; throws WeftError `vici` for more, and does not repeat
 * the value, which may be a secret.
 */
export function encodeViciMessage(message: ViciSection): Uint8Array {
  const parts: Uint8Array[] = [];
  writeSection(message, parts);
  return Buffer.concat(parts);
}

function writeSection(section: ViciSection, parts: Uint8Array[]): void {
  for (const [name, value] of Object.entries(section)) {
    if (typeof value === 'string') {
      parts.push(Uint8Array.of(KEY_VALUE), shortText(name), longText(name, value));
    } else if (isList(value)) {
      parts.push(Uint8Array.of(LIST_START), shortText(name));
      for (const item of value) parts.push(Uint8Array.of(LIST_ITEM), longText(name, item));
      parts.push(Uint8Array.of(LIST_END));
    } else {
      parts.push(Uint8Array.of(SECTION_START), shortText(name));
      writeSection(value, parts);
      parts.push(Uint8Array.of(SECTION_END));
    }
  }
}

const isList = (value: ViciValue): value is readonly string[] => Array.isArray(value);

/** A name after its length in 8 bits. */
export function shortText(name: string): Uint8Array {
  const bytes = Buffer.from(name);
  if (bytes.length > NAME_BYTES)
    throw new WeftError(
      'vici',
      `cannot ask charon: a name has ${bytes.length} bytes, and VICI takes ${NAME_BYTES}`,
    );
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}

/** A value after its length in 16 bits, the higher ones first. */
function longText(name: string, value: string): Uint8Array {
  const bytes = Buffer.from(value);
  if (bytes.length > VALUE_BYTES)
    throw new WeftError(
      'vici',
      `cannot ask charon: "${name}" has ${bytes.length} bytes, and VICI takes ${VALUE_BYTES}`,
    );
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Reads a message; `undefined` when the bytes are none. Of two elements with one name the later one counts. */
export function decodeViciMessage(bytes: Uint8Array): ViciSection | undefined {
  const reader = new Reader(bytes);
  const section = reader.section(0);
  return reader.isGood && reader.isAtEnd ? section : undefined;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  isGood = true;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Up to the section's end; the outermost section ends with the message. */
  section(depth: number): ViciSection {
    const entries: [string, ViciValue][] = [];
    while (this.isGood && !(depth === 0 && this.isAtEnd)) {
      const type = this.#byte();
      if (type === SECTION_END && depth > 0) break;
      const name = this.#text(this.#byte());
      if (type === KEY_VALUE) entries.push([name, this.#value()]);
      else if (type === LIST_START) entries.push([name, this.#list()]);
      else if (type === SECTION_START && depth < DEEPEST) entries.push([name, this.section(depth + 1)]);
      else this.isGood = false;
    }
    // Also a name such as "__proto__" becomes a member like the others.
    return Object.fromEntries(entries);
  }

  #list(): string[] {
    const items: string[] = [];
    while (this.isGood) {
      const type = this.#byte();
      if (type === LIST_END) break;
      if (type === LIST_ITEM) items.push(this.#value());
      else this.isGood = false;
    }
    return items;
  }

  #value(): string {
    const high = this.#byte();
    return this.#text((high << 8) | this.#byte());
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) this.isGood = false;
    return byte ?? 0;
  }

  #text(length: number): string {
    const end = this.#at + length;
    if (end > this.#bytes.length) this.isGood = false;
    const text = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end;
    return text;
  }
}

/** The text of that name; `undefined` where there is none or something else. */
export function textIn(section: ViciSection, name: string): string | undefined {
  const value = section[name];
  return typeof value === 'string' ? value : undefined;
}

/** The list of that name; empty where there is none or something else. */
export function listIn(section: ViciSection, name: string): readonly string[] {
  const value = section[name];
  return value !== undefined && typeof value !== 'string' && isList(value) ? value : [];
}

/** The sections among what a section holds. */
export function sectionsIn(section: ViciSection): [name: string, section: ViciSection][] {
  return Object.entries(section).filter(
    (entry): entry is [string, ViciSection] => typeof entry[1] !== 'string' && !isList(entry[1]),
  );
}
