/** A size that is lost once may pass: each is tried so often before it counts as too large. */
const TIMES = 2;

/** Finds the size of the largest packet that passes, by halving: 11 sizes for an MTU of 1,450. */
export class MtuSearch {
  #passes: number;
  #fails: number;
  #losses = 0;

  /** A packet of `passes` bytes is known to pass, and one of `fails` bytes to be lost. */
  constructor(passes: number, fails: number) {
    this.#passes = passes;
    this.#fails = fails;
  }

  /** The size to try next; `undefined` when it is found. */
  get next(): number | undefined {
    return this.#fails - this.#passes > 1 ? (this.#passes + this.#fails) >> 1 : undefined;
  }

  /** Bytes of the largest packet that is known to pass. */
  get passes(): number {
    return this.#passes;
  }

  /** What became of the packet of {@link next} bytes. */
  note(passed: boolean): void {
    const { next } = this;
    if (next === undefined) return;
    if (!passed && ++this.#losses < TIMES) return;
    this.#losses = 0;
    if (passed) this.#passes = next;
    else this.#fails = next;
  }
}
