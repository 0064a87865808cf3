import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '#src/sys/clock.ts';

/** Milliseconds of work after which the event loop gets its turn: half of what reading the events it makes may take. */
const TURN_MS = 3;

/** Keeps long work from holding up everything else. */
export class TurnBudget {
  readonly #clock: Clock;
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
  }

  /** Whether it is time for a turn. For loops that make too many rounds to wait in each of them for nothing. */
  get isSpent(): boolean {
    return this.#clock.monotonic() - this.#since >= TURN_MS;
  }

  /** Called between two pieces of work: goes on at once, or after a turn of the event loop when the time is up. */
  async turn(): Promise<void> {
    if (!this.isSpent) return;
    await nextTurn();
    this.#since = this.#clock.monotonic();
  }
}
