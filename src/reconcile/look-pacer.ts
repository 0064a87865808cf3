/**
 * Looks that are asked for by every change of another program must not cost more than the changes do. The first looks of a
 * while are made at once; as long as more are asked for and none of them finds anything, the pauses before them grow.
 */
export class LookPacer {
  readonly #mostMs: number;
  #vain = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** `mostMs`: the longest pause, and how long it must be quiet until the next look is made at once again. */
  constructor(mostMs: number) {
    this.#mostMs = mostMs;
  }

  /** How long to wait before a look that was asked for at `now`, in milliseconds. */
  delay(now: number): number {
    if (now - this.#lookedAt >= this.#mostMs) this.#vain = 0;
    return this.#vain < AT_ONCE ? 0 : Math.min(this.#mostMs, FIRST_PAUSE_MS * 2 ** (this.#vain - AT_ONCE));
  }

  /** Notes a look, and whether it found something to mend. */
  looked(now: number, found: boolean): void {
    this.#vain = found ? 0 : this.#vain + 1;
    this.#lookedAt = now;
  }
}

/** Looks in vain without a pause: one follows each write of ours. */
const AT_ONCE = 2;
const FIRST_PAUSE_MS = 25;
