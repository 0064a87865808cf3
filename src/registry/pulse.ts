import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

export interface PulseOptions {
  /** How long a sign of life may take that was asked for. */
  readonly answerMs: number;
  ask(): void;
  /** Called once: nothing came. */
  onSilence(): void;
}

/** Finds out whether a connection has nothing to say, or its other end is frozen or cut off. */
export class Pulse {
  readonly #clock: Clock;
  readonly #options: PulseOptions;
  #waiting = new AbortController();
  #silent = false;

  constructor(clock: Clock, options: PulseOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Whether the other end was found silent. */
  get silent(): boolean {
    return this.#silent;
  }

  /** A sign of life came: the next is asked for after `quietMs` without one. */
  felt(quietMs: number): void {
    this.#after(quietMs, async () => {
      // Before the question: an answer may come within it.
      this.expect(this.#options.answerMs);
      this.#options.ask();
    });
  }

  /** A sign has to come within `ms`. */
  expect(ms: number): void {
    this.#after(ms, async (signal) => {
      // After a pause of this process (a stopped machine, a long turn) timers run before the socket is read, so an
      // answer may be waiting: give it one turn.
      await nextTurn();
      if (signal.aborted) return;
      this.#silent = true;
      this.#options.onSilence();
    });
  }

  stop(): void {
    this.#waiting.abort();
  }

  #after(ms: number, act: (signal: AbortSignal) => Promise<void>): void {
    this.stop();
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    this.#clock.sleep(ms, signal).then(
      () => (signal.aborted ? undefined : act(signal)),
      () => {},
    );
  }
}
