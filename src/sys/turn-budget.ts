import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

/** Milliseconds of work after which the event loop gets its turn: half of what reading the events it makes may take. */
const TURN_MS = 3;

const ROUNDS_A_LOOK = 8;

/** Keeps long work from holding up everything else. */
export class TurnBudget {
  readonly #clock: Clock;
  #since: number;
  #rounds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.monotonic();
  }

  /** Whether it is time for a turn, for loops of many short rounds: waiting for nothing or asking the time would be most of one. */
  get isSpent(): boolean {
    return ++this.#rounds % ROUNDS_A_LOOK === 0 && this.#isOver;
  }

  get #isOver(): boolean {
    return this.#clock.monotonic() - this.#since >= TURN_MS;
  }

  /** Called between two pieces of work: goes on at once, or after a turn of the event loop when the time is up. */
  async turn(): Promise<void> {
    if (!this.#isOver) return;
    await nextTurn();
    this.#since = this.#clock.monotonic();
  }
}
