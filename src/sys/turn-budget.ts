import type { Clock } from '#src/sys/clock.ts';
import { inNextTurn } from '#src/sys/next-turn.ts';

/** Milliseconds of work after which the event loop gets its turn: half of what reading the events it makes may take. */
const TURN_MS = 3;

const ROUNDS_A_LOOK = 8;

/**
 * Keeps long work from holding up everything else. All long work of the process shares the time of a turn of the event loop:
 * where several pieces each took their own, a join held the loop up for four times as long.
 */
export class TurnBudget {
  readonly #clock: Clock;
  readonly #share: Share;
  #rounds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#share = shareOf(clock);
  }

  /** Whether it is time for a turn, for loops of many short rounds: waiting for nothing or asking the time would be most of one. */
  get isSpent(): boolean {
    return ++this.#rounds % ROUNDS_A_LOOK === 0 && this.#isOver;
  }

  get #isOver(): boolean {
    const now = this.#clock.monotonic();
    return now - this.#share.since(now) >= TURN_MS;
  }

  /** Called between two pieces of work: goes on at once, or in a later turn of the event loop when the time is up. */
  async turn(): Promise<void> {
    if (!this.#isOver) return;
    await nextSlice();
    this.#share.begin(this.#clock.monotonic());
  }
}

/** The time that long work has had in the present turn of the event loop, by one clock. */
class Share {
  #began: { readonly at: number } | undefined;

  /** When it began; `now` if nothing has asked in this turn. */
  since(now: number): number {
    return (this.#began ?? this.begin(now)).at;
  }

  begin(now: number): { readonly at: number } {
    const began = { at: now };
    this.#began = began;
    inNextTurn(() => {
      if (this.#began === began) this.#began = undefined;
    });
    return began;
  }
}

const shares = new WeakMap<Clock, Share>();

function shareOf(clock: Clock): Share {
  let share = shares.get(clock);
  if (share === undefined) {
    share = new Share();
    shares.set(clock, share);
  }
  return share;
}

/** Work that waits, the first to come first: each turn of the event loop goes on with one piece of it. */
const waiting: (() => void)[] = [];

function nextSlice(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) inNextTurn(goOn);
  });
}

function goOn(): void {
  const next = waiting.shift();
  if (waiting.length > 0) inNextTurn(goOn);
  next?.();
}
