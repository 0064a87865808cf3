/** What may be sent at once after a pause, as a part of a second. */
const BURST_SECONDS = 0.2;

/** Packets a second, as a bucket that fills: whatever is to be measured, no more than this is sent. */
export class Budget {
  readonly #perMs: number;
  readonly #most: number;
  #tokens: number;
  #at: number;

  /** `now`: monotonic milliseconds. */
  constructor(packetsPerSecond: number, now: number) {
    this.#perMs = packetsPerSecond / 1000;
    this.#most = Math.max(LEAST_BURST, packetsPerSecond * BURST_SECONDS);
    this.#tokens = this.#most;
    this.#at = now;
  }

  /** Whether `packets` may be sent now. What is left may go below zero by one step, and is earned back. */
  take(packets: number, now: number): boolean {
    this.#fill(now);
    if (this.#tokens < Math.min(packets, this.#most)) return false;
    this.#tokens -= packets;
    return true;
  }

  /** Milliseconds until that many packets may be sent. */
  wait(packets: number, now: number): number {
    this.#fill(now);
    return Math.max(0, (Math.min(packets, this.#most) - this.#tokens) / this.#perMs);
  }

  #fill(now: number): void {
    this.#tokens = Math.min(this.#most, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}

/** Less would never allow for the packets of one connection. */
const LEAST_BURST = 4;
