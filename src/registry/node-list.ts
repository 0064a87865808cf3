import type { V2Node } from '#src/registry/etcd-v2-http.ts';

const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = Buffer.from('"\\[]{}');
/** `{"node":{"nodes":[` */
const LIST_DEPTH = 3;

/**
 * Reads etcd v2's answer to a recursive GET as it comes, and hands over the nodes of its list. Of 50,000 leases it has
 * 13 MB: in one piece it would hold up the event loop for a tenth of a second, and be in memory three times.
 */
export class NodeList {
  readonly #take: (node: V2Node) => void;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** What is around the list's elements. */
  readonly #frame: Buffer[] = [];
  /** The beginning of an element whose end has not come. */
  #begun: Buffer = Buffer.alloc(0);

  constructor(take: (node: V2Node) => void) {
    this.#take = take;
  }

  /** Throws a SyntaxError when what is in the list is not JSON. */
  push(piece: Buffer): void {
    const bytes = this.#begun.length === 0 ? piece : Buffer.concat([this.#begun, piece]);
    /** Where what has not been handed over begins, and where the last whole element ends. */
    let from = 0;
    let end = 0;
    // In variables: there are millions of bytes.
    let [depth, inString, escaped] = [this.#depth, this.#inString, this.#escaped];
    for (let at = this.#begun.length; at < bytes.length; at++) {
      const byte = bytes[at];
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) {
        inString = true;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        depth++;
        if (byte === OPEN_BRACE || depth !== LIST_DEPTH) continue;
        this.#frame.push(bytes.subarray(from, at + 1));
        from = end = at + 1;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth--;
        if (depth === LIST_DEPTH) {
          end = at + 1;
        } else if (depth === LIST_DEPTH - 1) {
          this.#handOver(bytes.subarray(from, end));
          from = at;
        }
      }
    }
    [this.#depth, this.#inString, this.#escaped] = [depth, inString, escaped];
    const inList = depth >= LIST_DEPTH;
    if (inList) this.#handOver(bytes.subarray(from, end));
    else this.#frame.push(bytes.subarray(from));
    this.#begun = bytes.subarray(inList ? end : bytes.length);
  }

  /** All that was pushed, but for what was handed over. */
  end(): string {
    return Buffer.concat([...this.#frame, this.#begun]).toString();
  }

  /** Elements as they stand in the list, with the comma before them. */
  #handOver(elements: Buffer): void {
    const text = elements.toString().replace(/^\s*,/, '');
    for (const node of JSON.parse(`[${text}]`) as V2Node[]) this.#take(node);
  }
}
