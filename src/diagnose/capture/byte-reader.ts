/** Bytes that come in pieces, taken in the lengths that are wanted. */
export class ByteReader {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array();
  /** Bytes that were taken. */
  position = 0;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** The next bytes, as many as wanted, or those that are left; they stay as they are. */
  async take(length: number): Promise<Uint8Array> {
    if (this.#held.length < length) await this.#fill(length);
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(taken.length);
    this.position += taken.length;
    return taken;
  }

  async #fill(length: number): Promise<void> {
    const parts = [this.#held];
    let bytes = this.#held.length;
    while (bytes < length) {
      const { done, value } = await this.#pieces.next();
      if (done) break;
      parts.push(value);
      bytes += value.length;
    }
    this.#held = Buffer.concat(parts);
  }
}
