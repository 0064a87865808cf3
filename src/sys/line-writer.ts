import { writeSync } from 'node:fs';

/** Tries, and the pause between two of them, on a full pipe before a line counts as lost. */
const TRIES = 20;
const PAUSE_MS = 5;

/**
 * Log lines to a file descriptor, at once and whole. A line that was begun is finished before the
 * next; one that can't be begun is lost, because a log without a reader must not stop a network.
 */
export class LineWriter {
  readonly #fd: number;
  #rest: Uint8Array = new Uint8Array();
  #stuck = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Writes one line. False when it is lost: the reader is gone, or has not made room for 100 ms. */
  write(line: string): boolean {
    if (!this.#flush()) return false;
    const bytes = Buffer.from(line);
    this.#rest = bytes;
    if (this.#flush() || this.#rest.length < bytes.length) return true;
    this.#rest = new Uint8Array();
    return false;
  }

  /** Writes what is left, as far as it goes. True when that was all. */
  #flush(): boolean {
    // Once stuck, it would block the event loop to wait again for each line.
    let triesLeft = this.#stuck ? 0 : TRIES;
    while (this.#rest.length > 0) {
      try {
        this.#rest = this.#rest.subarray(writeSync(this.#fd, this.#rest));
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        if (!isFull || triesLeft-- === 0) {
          this.#stuck = isFull;
          return false;
        }
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
    }
    this.#stuck = false;
    return true;
  }
}
