import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

/** A file of records that are whole at any moment: after a crash, a full disk, and while it is read. */
export interface RecordFile {
  /** Takes a record; it is on its way to the disk after the next flush, or when many wait. Throws node's error. */
  append(record: Uint8Array): void;
  /** Throws node's error. The file then ends with the last record that fitted, and nothing can be added. */
  flush(): void;
  /** Flushes first. Safe to call twice; does not throw after a failure. */
  close(): void;
}

/** Replaces what is there (0600). Throws node's error. */
export type CreateRecordFile = (path: string) => RecordFile;

export const createRecordFile: CreateRecordFile = (path) => new SystemRecordFile(openSync(path, 'w', 0o600));

/** So many bytes wait. */
const MOST_WAITING = 256 << 10;

class SystemRecordFile implements RecordFile {
  readonly #fd: number;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** Bytes of whole records in the file. */
  #size = 0;
  #ended = false;
  #closed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  append(record: Uint8Array): void {
    if (this.#ended) return;
    this.#waiting.push(record);
    this.#waitingBytes += record.length;
    if (this.#waitingBytes >= MOST_WAITING) this.flush();
  }

  flush(): void {
    if (this.#ended || this.#waiting.length === 0) return;
    const records = this.#waiting;
    const bytes = Buffer.concat(records);
    [this.#waiting, this.#waitingBytes] = [[], 0];
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
      this.#size += written;
    } catch (error) {
      this.#ended = true;
      for (const { length } of records) {
        if (written < length) break;
        written -= length;
        this.#size += length;
      }
      try {
        ftruncateSync(this.#fd, this.#size);
      } catch {
        // A device, such as /dev/full.
      }
      throw error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.flush();
    } finally {
      closeSync(this.#fd);
    }
  }
}
