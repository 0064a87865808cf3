import { ByteReader } from '#src/diagnose/capture/byte-reader.ts';
import { viewOf } from '#src/diagnose/capture/bytes.ts';
import { captureFileError } from '#src/diagnose/capture/capture-error.ts';
import type { Frame } from '#src/diagnose/capture/frame.ts';
import { pcapMagic, readPcap } from '#src/diagnose/capture/read-pcap.ts';
import { readPcapng, SECTION_HEADER } from '#src/diagnose/capture/read-pcapng.ts';

/**
 * The frames of a file: pcapng, or classic pcap of either byte order and unit. Throws a WeftError `capture-file` where the file
 * can't be read further; the frames before have come then.
 */
export async function* readCapture(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Frame, void, void> {
  const reader = new ByteReader(pieces);
  const first = await reader.take(4);
  if (first.length < 4) throw captureFileError(first.length === 0 ? 'it is empty' : 'it has only some bytes');
  if (viewOf(first).getUint32(0) === SECTION_HEADER) yield* readPcapng(reader, first);
  else if (pcapMagic(viewOf(first)) !== undefined) yield* readPcap(reader, first);
  else if (first[0] === 0x1f && first[1] === 0x8b)
    throw captureFileError('it is compressed', 'unpack it with gunzip');
  else
    throw captureFileError(
      'it is neither pcapng nor pcap',
      'write it with "weft capture --write" or tcpdump -w',
    );
}
