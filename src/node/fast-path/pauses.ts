import type { Clock } from '#src/sys/clock.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';

interface Pause {
  readonly why: string;
  readonly timer: Timer;
}

/** As many as may be at one time: a pause is asked for over a socket. */
const MOST = 100;

/** Who has to see all packets for a while. A pause ends by itself: a command that was killed can't end it. */
export class Pauses {
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #pauses = new Map<string, Pause>();
  readonly #waiting: (() => void)[] = [];

  constructor(clock: Clock, onChange: () => void) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get isAny(): boolean {
    return this.#pauses.size > 0;
  }

  /** Each once. */
  get reasons(): string[] {
    return [...new Set(Array.from(this.#pauses.values(), ({ why }) => why))];
  }

  /** From now on for `ms`; with 0 the pause of `by` ends. */
  set(by: string, why: string, ms: number): void {
    const before = this.#pauses.get(by);
    before?.timer.stop();
    this.#pauses.delete(by);
    if (ms > 0 && this.#pauses.size < MOST)
      this.#pauses.set(by, { why, timer: startTimer(this.#clock, ms, () => this.set(by, why, 0)) });
    if (this.#pauses.has(by) !== (before !== undefined)) this.#onChange();
  }

  /** Resolves when what was set so far is in force. */
  taken(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    this.#onChange();
    return promise;
  }

  /** What was set so far is in force. */
  take(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
