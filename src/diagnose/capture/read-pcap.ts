import type { ByteReader } from '#src/diagnose/capture/byte-reader.ts';
import { viewOf } from '#src/diagnose/capture/bytes.ts';
import { captureFileError } from '#src/diagnose/capture/capture-error.ts';
import { type Frame, isLinkType, type LinkType } from '#src/diagnose/capture/frame.ts';

/** Nothing has longer frames: tcpdump takes 262,144 bytes at most. */
export const MOST_FRAME_BYTES = 16 << 20;

const HEADER_BYTES = 24;
const RECORD_BYTES = 16;
const MICROSECONDS = 0xa1b2c3d4;
const NANOSECONDS = 0xa1b23c4d;

/** Whether the first four bytes are those of a classic pcap file; in which byte order and unit. */
export function pcapMagic(first: DataView): { readonly little: boolean; readonly unit: bigint } | undefined {
  for (const little of [true, false]) {
    const magic = first.getUint32(0, little);
    if (magic === MICROSECONDS) return { little, unit: 1_000n };
    if (magic === NANOSECONDS) return { little, unit: 1n };
  }
  return undefined;
}

/** The frames of a classic pcap file (draft-ietf-opsawg-pcap) whose first four bytes have been taken. */
export async function* readPcap(reader: ByteReader, first: Uint8Array): AsyncGenerator<Frame, void, void> {
  const magic = pcapMagic(viewOf(first));
  const rest = await reader.take(HEADER_BYTES - first.length);
  if (magic === undefined || rest.length < HEADER_BYTES - first.length)
    throw captureFileError('its header is cut short');
  const { little, unit } = magic;
  // The upper bits are about a checksum at the end of frames.
  const linkType = checkedLinkType(viewOf(rest).getUint32(16, little) & 0xffff);
  for (;;) {
    const record = await reader.take(RECORD_BYTES);
    if (record.length === 0) return;
    if (record.length < RECORD_BYTES) throw cutShort(reader);
    const view = viewOf(record);
    const [captured, originalLength] = [view.getUint32(8, little), view.getUint32(12, little)];
    if (captured > MOST_FRAME_BYTES) throw absurd(reader, captured);
    const bytes = await reader.take(captured);
    if (bytes.length < captured) throw cutShort(reader);
    const at = BigInt(view.getUint32(0, little)) * 1_000_000_000n + BigInt(view.getUint32(4, little)) * unit;
    yield { at, device: '', linkType, bytes, originalLength: Math.max(originalLength, captured) };
  }
}

export function checkedLinkType(number: number): LinkType {
  if (isLinkType(number)) return number;
  throw captureFileError(
    `its frames are of link type ${number}, which is not known here`,
    'capture on an Ethernet device',
  );
}

export const cutShort = ({ position }: ByteReader) =>
  captureFileError(`it ends in the middle of a frame, at byte ${position}`);
export const absurd = ({ position }: ByteReader, length: number) =>
  captureFileError(`it is damaged at byte ${position}: a length of ${length} bytes`);
