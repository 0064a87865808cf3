import type { Clock } from '#src/sys/clock.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';

export interface LifeSignOptions {
  /** With calls under way: after so long without a byte the other side is asked for a sign of life, … */
  readonly pingAfterMs: number;
  /** … and is given up when none comes within so long. */
  readonly pingAnswerMs: number;
  /** How long the other side may take for its first words. */
  readonly greetingMs: number;
}

export interface LifeSignListener {
  /** The other side is to answer something. */
  ask(): void;
  /** It did not. */
  silent(why: string): void;
}

/** Says when the other side of a connection is silent for too long: one that was cut is not closed. */
export class LifeSigns {
  readonly #clock: Clock;
  readonly #options: LifeSignOptions;
  readonly #listener: LifeSignListener;
  #heardAt: number;
  #timer: Timer | undefined;

  constructor(clock: Clock, options: LifeSignOptions, listener: LifeSignListener) {
    this.#clock = clock;
    this.#options = options;
    this.#listener = listener;
    this.#heardAt = clock.monotonic();
  }

  /** A byte came. */
  heard(): void {
    this.#heardAt = this.#clock.monotonic();
  }

  /** Waits for the first words, until {@link stop}. */
  awaitGreeting(): void {
    this.#timer = startTimer(this.#clock, this.#options.greetingMs, () => {
      this.#listener.silent('no answer to the greeting of HTTP/2');
    });
  }

  /** Asks where it is silent, until {@link stop}. Nothing more where that is done already. */
  watch(): void {
    if (this.#timer === undefined) this.#listen();
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #listen(): void {
    const { pingAfterMs } = this.#options;
    const quiet = this.#clock.monotonic() - this.#heardAt;
    // A connection without streams may have been silent for long, and nobody may ask that often.
    const wait = quiet >= pingAfterMs ? pingAfterMs : pingAfterMs - quiet;
    this.#timer = startTimer(this.#clock, wait, () => {
      if (this.#clock.monotonic() - this.#heardAt < pingAfterMs) this.#listen();
      else this.#ask();
    });
  }

  #ask(): void {
    const heardAt = this.#heardAt;
    this.#listener.ask();
    this.#timer = startTimer(this.#clock, this.#options.pingAnswerMs, () => {
      if (this.#heardAt === heardAt) this.#listener.silent('no answer to a ping: frozen or cut off');
      else this.#listen();
    });
  }
}
