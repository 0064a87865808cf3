/** So many bits take 512 kB: all subnets that IPv4 has room for. */
const MOST_BITS = 1 << 22;

/**
 * Numbers from 0 on. Of a small range each is a bit: to mark 50,000 subnets in a Set of JavaScript takes 10 ms, in which a
 * start does nothing else.
 */
export class NumberSet {
  readonly #bits: Uint32Array | undefined;
  readonly #others = new Set<number>();
  #marked = 0;

  /** `size`: all numbers are below it. */
  constructor(size: number) {
    this.#bits = size <= MOST_BITS ? new Uint32Array(Math.ceil(size / 32)) : undefined;
  }

  /** How many different numbers there are. */
  get count(): number {
    return this.#bits === undefined ? this.#others.size : this.#marked;
  }

  add(number: number): void {
    const bits = this.#bits;
    if (bits === undefined) {
      this.#others.add(number);
      return;
    }
    const [at, bit] = [number >>> 5, 1 << (number & 31)];
    const word = bits[at] ?? 0;
    if ((word & bit) !== 0) return;
    bits[at] = word | bit;
    this.#marked++;
  }

  has(number: number): boolean {
    if (this.#bits === undefined) return this.#others.has(number);
    return ((this.#bits[number >>> 5] ?? 0) & (1 << (number & 31))) !== 0;
  }
}
