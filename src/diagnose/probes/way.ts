import type { ProbedWay } from '#src/observe/api.ts';

/** So many of the last small packets count for the loss. */
export const HISTORY = 20;
const HISTORY_MASK = 2 ** HISTORY - 1;

/** A full-size packet is lost when it is lost twice: any packet may get lost once. */
const FULL_TIMES = 2;

/** What was measured of one way to a peer: counts in a few numbers, for there may be 50,000 peers. */
export class Way {
  /** One bit for each of the last packets, the newest lowest: 1 is answered. */
  #answers = 0;
  #sent = 0;
  #fullLost = 0;
  #fullPassed = false;
  /** Small packets that were ever answered or lost. */
  count = 0;
  /** Small packets since the last answer. */
  lostInRow = 0;
  /** Milliseconds; absent until an answer has come. */
  roundTripMs: number | undefined;
  /** The errno's name where the last packet could not leave this host. */
  refusal: string | undefined;

  /** A small packet was answered. */
  answered(roundTripMs: number): void {
    this.#push(1);
    this.lostInRow = 0;
    this.refusal = undefined;
    this.roundTripMs = roundTripMs;
  }

  /** A small packet had no answer in its time. `refusal`: it could not even leave. */
  lost(refusal?: string): void {
    this.#push(0);
    this.lostInRow++;
    this.refusal = refusal;
  }

  /** An answer came after its packet was counted as lost, as the one before the last `later` packets. */
  answeredLate(roundTripMs: number, later: number): void {
    // One of before an outage is forgotten.
    if (later < this.#sent) this.#answers |= 1 << later;
    this.lostInRow = Math.min(this.lostInRow, later);
    this.roundTripMs = roundTripMs;
  }

  /** A packet of the device's MTU was answered, or lost. */
  full(passes: boolean): void {
    this.#fullPassed ||= passes;
    this.#fullLost = passes ? 0 : this.#fullLost + 1;
    if (this.isFullLost) this.#fullPassed = false;
  }

  get isFullLost(): boolean {
    return this.#fullLost >= FULL_TIMES;
  }

  /** Lost once, and not known to be lost. */
  get isFullInDoubt(): boolean {
    return this.#fullLost > 0 && !this.isFullLost;
  }

  /** Begins a new history: what an outage lost says nothing about the way after it. */
  forget(): void {
    this.#answers = 0;
    this.#sent = 0;
    this.#fullLost = 0;
    this.#fullPassed = false;
  }

  /** Small packets that are counted, {@link HISTORY} at most. */
  get sent(): number {
    return this.#sent;
  }

  get answeredCount(): number {
    let count = 0;
    for (let bits = this.#answers; bits !== 0; bits &= bits - 1) count++;
    return count;
  }

  get view(): ProbedWay {
    const { roundTripMs } = this;
    return {
      sent: this.#sent,
      answered: this.answeredCount,
      ...(roundTripMs !== undefined && { roundTripMs: Math.round(roundTripMs * 1000) / 1000 }),
      fullSize: this.isFullLost ? 'lost' : this.#fullPassed ? 'passes' : 'not tried',
    };
  }

  #push(bit: 0 | 1): void {
    this.#answers = ((this.#answers << 1) | bit) & HISTORY_MASK;
    this.count++;
    if (this.#sent < HISTORY) this.#sent++;
  }
}
