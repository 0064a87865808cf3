import { beatIn } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

export interface PulseOptions {
  /** How long a sign of life may take that was asked for. */
  readonly answerMs: number;
  ask(): void;
  /** Called once: nothing came. */
  onSilence(): void;
}

/** What is done at a time, unless another sign of life comes before. */
interface Due {
  readonly at: number;
  readonly act: () => void;
}

/**
 * Finds out whether a connection has nothing to say, or its other end is frozen or cut off.
 *
 * A sign of life comes with every event. A sleep that is ended and begun again costs more than the event, so a sleep goes
 * on when the time moves back, and looks again when it is over.
 */
export class Pulse {
  readonly #clock: Clock;
  readonly #options: PulseOptions;
  #due: Due | undefined;
  /** The sleep that is under way, and when it ends. */
  #sleep: { readonly until: number; readonly ended: AbortController } | undefined;
  #silent = false;
  /** What is done when it has been quiet for long enough; `undefined` while an answer is expected, or nothing. */
  #ask: (() => void) | undefined;

  constructor(clock: Clock, options: PulseOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Whether the other end was found silent. */
  get silent(): boolean {
    return this.#silent;
  }

  /** A sign of life came: the next is asked for after about `quietMs` without one, on a beat. */
  felt(quietMs: number): void {
    this.#ask = () => {
      // Before the question: an answer may come within it.
      this.expect(this.#options.answerMs);
      this.#options.ask();
    };
    this.#doAt(beatIn(this.#clock.monotonic(), quietMs), this.#ask);
  }

  /** A sign of life is asked for now. Does nothing while one is expected already, or none is. */
  askNow(): void {
    this.#ask?.();
  }

  /** A sign has to come within `ms`. */
  expect(ms: number): void {
    this.#ask = undefined;
    const due = this.#doAt(this.#clock.monotonic() + ms, async () => {
      // After a pause of this process (a stopped machine, a long turn) timers run before the socket is read, so an
      // answer may be waiting: give it one turn.
      await nextTurn();
      if (this.#due !== due) return;
      this.#due = undefined;
      this.#silent = true;
      this.#options.onSilence();
    });
  }

  /** Nothing is expected until the next call. */
  pause(): void {
    this.#ask = undefined;
    this.#due = undefined;
  }

  /** As {@link pause}, and no timer is left. */
  stop(): void {
    this.pause();
    this.#sleep?.ended.abort('ended');
    this.#sleep = undefined;
  }

  #doAt(at: number, act: () => void): Due {
    const due = { at, act };
    this.#due = due;
    if (this.#sleep === undefined || this.#sleep.until > due.at) this.#sleepUntil(due.at);
    return due;
  }

  #sleepUntil(until: number): void {
    this.#sleep?.ended.abort('ended');
    const sleep = { until, ended: new AbortController() };
    this.#sleep = sleep;
    this.#clock.sleep(until - this.#clock.monotonic(), sleep.ended.signal).then(
      () => {
        if (this.#sleep === sleep) this.#wake();
      },
      () => {},
    );
  }

  #wake(): void {
    this.#sleep = undefined;
    if (this.#due === undefined) return;
    if (this.#due.at > this.#clock.monotonic()) this.#sleepUntil(this.#due.at);
    else this.#due.act();
  }
}
