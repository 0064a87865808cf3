const LIST = '"nodes":[';
/** Between two nodes of the list. Inside of a text it could not be: the quote would be escaped. */
const BOUNDARY = '},{"key":';
/** Bytes that are read in one go: 500 leases, a millisecond. */
const PIECE = 128 << 10;

/**
 * Reads etcd v2's answer to a recursive GET as it comes, and hands over the nodes of its list. Of 50,000 leases it has
 * 13 MB: in one piece it would hold up the event loop for a tenth of a second, and be in memory three times.
 *
 * It is cut where two nodes meet, and what is cut off is read as JSON. Where that fails (a folder in the list was cut
 * through, or a text that ends with what looks like a boundary) nothing more is cut, and the rest is read at the end.
 */
export class NodeList {
  readonly #take: (node: unknown) => void;
  /** What is before the list; `undefined` until it has come. */
  #frame: string | undefined;
  #pieces: Buffer[] = [];
  #size = 0;
  #whole = false;
  /** Bytes to wait for before the next look. Twice what one look left, so that a long value is not joined for each piece. */
  #enough = PIECE;

  constructor(take: (node: unknown) => void) {
    this.#take = take;
  }

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (this.#size < this.#enough || this.#whole) return;
    const bytes = Buffer.concat(this.#pieces);
    const left = bytes.subarray(this.#cut(bytes));
    this.#pieces = [left];
    this.#size = left.length;
    this.#enough = Math.max(PIECE, 2 * left.length);
  }

  /** All that was pushed, but for the nodes that were handed over. */
  end(): string {
    return (this.#frame ?? '') + Buffer.concat(this.#pieces);
  }

  /** Hands over whole nodes from the beginning; how many bytes they took, with what was before them. */
  #cut(bytes: Buffer): number {
    let start = 0;
    if (this.#frame === undefined) {
      const list = bytes.indexOf(LIST);
      if (list < 0) return 0;
      start = list + LIST.length;
      this.#frame = bytes.toString('utf8', 0, start);
    }
    const end = bytes.lastIndexOf(BOUNDARY) + 1;
    if (end <= start) return start;
    let nodes: unknown[];
    try {
      nodes = JSON.parse(`[${bytes.toString('utf8', start, end)}]`);
    } catch {
      this.#whole = true;
      return start;
    }
    for (const node of nodes) this.#take(node);
    // With the comma behind them.
    return end + 1;
  }
}
