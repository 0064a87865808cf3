/** Random values that one seed decides, so that a round can be played again. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to but not including 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From 0 up to and with `max`. */
  int(max: number): number {
    return Math.floor(this.next() * (max + 1));
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.int(n - 1) === 0;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.int(choices.length - 1)] ?? choices[0];
  }

  bytes(max: number): Buffer {
    return Buffer.from(Array.from({ length: this.int(max) }, () => this.int(255)));
  }

  /** 64-bit integers, mostly those at which something overflows. */
  int64(): bigint {
    const small = BigInt(this.int(20)) - 5n;
    return this.pick([
      small,
      small,
      small,
      2n ** 63n - 1n,
      -(2n ** 63n),
      2n ** BigInt(this.int(62)),
      BigInt(this.int(0xffffffff)),
    ]);
  }

  /** The bytes with a few of them changed, left out, doubled or cut off. */
  mutate(bytes: Buffer): Buffer {
    let result = Buffer.from(bytes);
    for (let n = this.int(4); n >= 0; n--) {
      const at = this.int(Math.max(0, result.length - 1));
      const kind = this.int(4);
      if (kind === 0 && result.length > 0) result[at] = this.int(255);
      else if (kind === 1)
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + this.int(8))]);
      else if (kind === 2)
        result = Buffer.concat([result.subarray(0, at), this.bytes(12), result.subarray(at)]);
      else if (kind === 3) result = Buffer.concat([result, result.subarray(at)]);
      else result = result.subarray(0, at);
    }
    return result;
  }

  /** The pieces that the bytes may arrive in. */
  *pieces(bytes: Buffer): Generator<Buffer> {
    const whole = this.once(3);
    for (let at = 0; at < bytes.length; ) {
      const end = whole ? bytes.length : at + 1 + this.int(this.pick([1, 20, 400, 5000]));
      yield bytes.subarray(at, end);
      at = end;
    }
  }
}

/** Numbers from 0 up to but not including 1, the same for the same seed. */
export function randomOf(seed: number): () => number {
  const random = new Random(seed);
  return () => random.next();
}
