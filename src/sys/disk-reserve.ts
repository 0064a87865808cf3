import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';

/** Room on the disk that is held for the day it is full. */
export interface DiskReserve {
  /** Takes the room if it is not held yet. False: there is none. */
  hold(): boolean;
  /** Gives the room up. False: it was not held. */
  release(): boolean;
}

/**
 * A file of this size, written in full so that its blocks are really there. Synchronous: the moment the disk is full, the
 * next write has to find the room.
 */
export function fileReserve(path: string, bytes: number): DiskReserve {
  return {
    hold() {
      const temporary = `${path}.tmp`;
      try {
        if (statSync(path, { throwIfNoEntry: false })?.size === bytes) return true;
        const file = openSync(temporary, 'w', 0o600);
        try {
          // Random: a filesystem that compresses would keep room for nothing.
          const filler = randomBytes(bytes);
          for (let written = 0; written < bytes; ) written += writeSync(file, filler, written);
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
        renameSync(temporary, path);
        return true;
      } catch {
        rmSync(temporary, { force: true });
        return false;
      }
    },
    release() {
      try {
        rmSync(path);
        return true;
      } catch {
        return false;
      }
    },
  };
}
