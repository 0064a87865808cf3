import { createReadStream } from 'node:fs';
import { chown, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Files of any size, in pieces of bytes. */
export interface ByteFiles {
  /** Bytes; `undefined` when there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** The bytes from the beginning up to but not including `end`, in pieces of 64 KB. */
  read(path: string, end: number): AsyncIterable<Buffer>;
  /** Makes a new file (0600) of these pieces, on the disk when this resolves. Throws where there is one. */
  write(path: string, pieces: AsyncIterable<Buffer>): Promise<void>;
  /** Puts the file in the place of another, on the disk when this resolves. */
  move(from: string, to: string): Promise<void>;
  /**
   * Gives the file to the owner of its folder, when root makes one for the user of a service. Equals
   * `chown --reference=FOLDER FILE`. For any other user it does nothing: only root may give files away.
   */
  giveToFolder(path: string): Promise<void>;
  /** No such file is fine. */
  remove(path: string): Promise<void>;
}

export const systemByteFiles: ByteFiles = {
  async size(path) {
    try {
      return (await stat(path)).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  async *read(path, end) {
    if (end === 0) return;
    for await (const piece of createReadStream(path, { end: end - 1 })) yield piece as Buffer;
  },
  async write(path, pieces) {
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const piece of pieces) await file.write(piece);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  async move(from, to) {
    await rename(from, to);
    const folder = await open(dirname(to));
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
  async giveToFolder(path) {
    const { uid, gid } = await stat(dirname(path));
    if (process.geteuid?.() === 0) await chown(path, uid, gid);
  },
  async remove(path) {
    await rm(path, { force: true });
  },
};
