import { createHash } from 'node:crypto';
import type { ByteFiles } from '#src/sys/byte-files.ts';

/** SHA-256 of all that is before, at the end of a snapshot, as etcd has it. */
export const CHECKSUM_BYTES = 32;

/** Whether the checksum at the end of a snapshot of `size` bytes is that of what is before it. */
export async function isWholeSnapshot(files: ByteFiles, path: string, size: number): Promise<boolean> {
  const length = Math.max(0, size - CHECKSUM_BYTES);
  const hash = createHash('sha256');
  const tail: Buffer[] = [];
  let read = 0;
  for await (const piece of files.read(path, size)) {
    const data = piece.subarray(0, Math.max(0, length - read));
    hash.update(data);
    tail.push(piece.subarray(data.length));
    read += piece.length;
  }
  return hash.digest().equals(Buffer.concat(tail));
}
