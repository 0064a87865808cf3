import type { ByteReader } from '#src/diagnose/capture/byte-reader.ts';
import { viewOf } from '#src/diagnose/capture/bytes.ts';
import { captureFileError } from '#src/diagnose/capture/capture-error.ts';
import { type Frame, isLinkType, type LinkType } from '#src/diagnose/capture/frame.ts';
import { absurd, checkedLinkType, cutShort, MOST_FRAME_BYTES } from '#src/diagnose/capture/read-pcap.ts';

/** Block types and options of draft-ietf-opsawg-pcapng. */
export const SECTION_HEADER = 0x0a0d0d0a;
export const INTERFACE_DESCRIPTION = 1;
const OLD_PACKET = 2;
const SIMPLE_PACKET = 3;
export const ENHANCED_PACKET = 6;
export const BYTE_ORDER = 0x1a2b3c4d;
export const OPTION_IF_NAME = 2;
export const OPTION_IF_TSRESOL = 9;
const OPTION_IF_TSOFFSET = 14;
export const OPTION_EPB_FLAGS = 2;
/** Type, length, and the length again at the end. */
const BLOCK_OVERHEAD = 12;
const MOST_BLOCK_BYTES = MOST_FRAME_BYTES + 65_536;
/** Sections and interfaces beyond these are a damaged file's. */
const MOST_INTERFACES = 65_536;

interface Interface {
  readonly name: string;
  readonly linkType: LinkType | undefined;
  readonly number: number;
  /** A timestamp times `multiplier`, through `divisor`, is nanoseconds. */
  readonly multiplier: bigint;
  readonly divisor: bigint;
  /** Nanoseconds. */
  readonly offset: bigint;
  readonly snapLength: number;
}

/** The frames of a pcapng file whose first four bytes have been taken: those of a section header. */
export async function* readPcapng(reader: ByteReader, first: Uint8Array): AsyncGenerator<Frame, void, void> {
  let little = true;
  let interfaces: Interface[] = [];
  let head = await reader.take(4);
  for (let type = viewOf(first).getUint32(0); ; ) {
    if (head.length < 4) throw cutShort(reader);
    let prefix: Uint8Array = new Uint8Array();
    if (type === SECTION_HEADER) {
      // The byte order comes behind the length that is written in it.
      prefix = await reader.take(4);
      if (prefix.length < 4) throw cutShort(reader);
      little = byteOrderOf(prefix);
      interfaces = [];
    }
    const length = viewOf(head).getUint32(0, little);
    if (length < BLOCK_OVERHEAD + prefix.length || length > MOST_BLOCK_BYTES || length % 4 !== 0)
      throw absurd(reader, length);
    const rest = await reader.take(length - 8 - prefix.length);
    if (rest.length < length - 8 - prefix.length) throw cutShort(reader);
    const body = viewOf(rest.subarray(0, -4));
    if (viewOf(rest).getUint32(rest.length - 4, little) !== length) throw absurd(reader, length);
    if (type === INTERFACE_DESCRIPTION) {
      if (interfaces.length >= MOST_INTERFACES) throw captureFileError('it has too many devices');
      interfaces.push(readInterface(body, little));
    } else {
      const frame = readFrame(type, body, interfaces, little);
      if (frame === 'damaged') throw absurd(reader, length);
      if (frame !== undefined) yield frame;
    }
    const next = await reader.take(4);
    if (next.length === 0) return;
    if (next.length < 4) throw cutShort(reader);
    // The type of a section header reads the same in both orders.
    type = viewOf(next).getUint32(0, little);
    head = await reader.take(4);
  }
}

function byteOrderOf(bytes: Uint8Array): boolean {
  const view = viewOf(bytes);
  if (view.getUint32(0, true) === BYTE_ORDER) return true;
  if (view.getUint32(0, false) === BYTE_ORDER) return false;
  throw captureFileError('its header has no byte order');
}

function readInterface(body: DataView, little: boolean): Interface {
  if (body.byteLength < 8) throw captureFileError('a device in it is cut short');
  const number = body.getUint16(0, little);
  let name = '';
  let [multiplier, divisor, offset] = [1_000n, 1n, 0n];
  for (const { code, value } of optionsIn(body, 8, little)) {
    if (code === OPTION_IF_NAME) name = new TextDecoder().decode(value);
    else if (code === OPTION_IF_TSRESOL && value[0] !== undefined) {
      const exponent = BigInt(value[0] & 0x7f);
      const unit = (value[0] & 0x80) === 0 ? 10n ** exponent : 2n ** exponent;
      [multiplier, divisor] = [1_000_000_000n, unit];
    } else if (code === OPTION_IF_TSOFFSET && value.length === 8)
      offset = viewOf(value).getBigInt64(0, little) * 1_000_000_000n;
  }
  const snapLength = body.getUint32(4, little) || MOST_FRAME_BYTES;
  // Frames of a link type that is not known are an error; a device without frames is not.
  const linkType = isLinkType(number) ? number : undefined;
  return { name, number, linkType, multiplier, divisor, offset, snapLength };
}

function readFrame(
  type: number,
  body: DataView,
  interfaces: readonly Interface[],
  little: boolean,
): Frame | 'damaged' | undefined {
  if (type === SIMPLE_PACKET) {
    const [from] = interfaces;
    if (from === undefined || body.byteLength < 4) return 'damaged';
    const originalLength = body.getUint32(0, little);
    const captured = Math.min(originalLength, from.snapLength, body.byteLength - 4);
    return frameOf(from, bytesIn(body, 4, captured), originalLength);
  }
  if (type !== ENHANCED_PACKET && type !== OLD_PACKET) return undefined;
  if (body.byteLength < 20) return 'damaged';
  const from = interfaces[type === ENHANCED_PACKET ? body.getUint32(0, little) : body.getUint16(0, little)];
  const [captured, originalLength] = [body.getUint32(12, little), body.getUint32(16, little)];
  if (from === undefined || captured > body.byteLength - 20) return 'damaged';
  const ticks = (BigInt(body.getUint32(4, little)) << 32n) | BigInt(body.getUint32(8, little));
  const at = (ticks * from.multiplier) / from.divisor + from.offset;
  const frame = frameOf(from, bytesIn(body, 20, captured), originalLength);
  for (const { code, value } of optionsIn(body, 20 + padded(captured), little)) {
    if (code !== OPTION_EPB_FLAGS || value.length !== 4) continue;
    const way = viewOf(value).getUint32(0, little) & 3;
    if (way === 1 || way === 2) return { ...frame, at, direction: way === 1 ? 'in' : 'out' };
  }
  return { ...frame, at };
}

const frameOf = (
  { name, linkType, number }: Interface,
  bytes: Uint8Array,
  originalLength: number,
): Frame => ({
  device: name,
  linkType: linkType ?? checkedLinkType(number),
  bytes,
  originalLength: Math.max(originalLength, bytes.length),
});

const bytesIn = (view: DataView, at: number, length: number): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset + at, length);

function* optionsIn(
  view: DataView,
  start: number,
  little: boolean,
): Generator<{ readonly code: number; readonly value: Uint8Array }> {
  for (let at = start; at + 4 <= view.byteLength; ) {
    const [code, length] = [view.getUint16(at, little), view.getUint16(at + 2, little)];
    if (code === 0 || at + 4 + length > view.byteLength) return;
    yield { code, value: bytesIn(view, at + 4, length) };
    at += 4 + padded(length);
  }
}

/** Blocks and options fill up to 4 bytes. */
export const padded = (length: number): number => Math.ceil(length / 4) * 4;
