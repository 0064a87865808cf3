/** A file in an archive. */
export interface TarFile {
  /** At most 100 bytes. */
  readonly name: string;
  readonly content: Uint8Array;
}

const BLOCK = 512;

/** A tar archive (POSIX.1-1988, ustar) of plain files, which only their owner may read. `time`: seconds since the epoch. */
export function tarArchive(files: readonly TarFile[], time: number): Uint8Array {
  const parts = files.flatMap(({ name, content }) => [
    header(name, content.length, time),
    content,
    new Uint8Array(padding(content.length)),
  ]);
  // Two empty blocks are the end.
  return Buffer.concat([...parts, new Uint8Array(2 * BLOCK)]);
}

function header(name: string, size: number, time: number): Uint8Array {
  const bytes = Buffer.alloc(BLOCK);
  if (Buffer.byteLength(name) > 100) throw new RangeError(`a name of more than 100 bytes: ${name}`);
  const octal = (value: number, at: number, digits: number): void => {
    bytes.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  };
  bytes.write(name, 0);
  octal(0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(time, 136, 11);
  bytes.write('0', 156);
  bytes.write('ustar\x0000', 257, 'latin1');
  bytes.write('root', 265);
  bytes.write('root', 297);
  // The sum of the header's bytes, with blanks in the place of the sum.
  bytes.fill(' ', 148, 156);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;
