import { type Clock, systemClock } from '#src/sys/clock.ts';
import { type LoopLateness, type MeasureLoop, measureLoop } from '#src/sys/loop-lateness.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';

/** A timer every 10 ms takes 1 % of a processor. One every 500 ms takes a fiftieth of that, but misses short delays. */
const FINE_MS = 10;
const COARSE_MS = 500;
/** The measurement stays fine for this long after a question. */
const ATTENTION_MS = 2_000;

export interface LoopDelayComponents {
  readonly clock: Clock;
  readonly measure: MeasureLoop;
}

/**
 * The largest delay of a timer of this process. Measured finely while it is asked for repeatedly,
 * coarsely otherwise.
 */
export class LoopDelay {
  readonly #clock: Clock;
  readonly #measureEvery: MeasureLoop;
  #lateness: LoopLateness | undefined;
  #attention: Timer | undefined;
  /** From the measurements before this one, since the last question. */
  #worst = 0;

  constructor({ clock, measure }: LoopDelayComponents = { clock: systemClock, measure: measureLoop }) {
    this.#clock = clock;
    this.#measureEvery = measure;
  }

  start(): void {
    this.#measure(COARSE_MS);
  }

  stop(): void {
    this.#attention?.stop();
    this.#lateness?.stop();
  }

  /** Milliseconds since the last call; resets the measurement. */
  take(): number {
    const late = this.#late();
    this.#measure(FINE_MS);
    this.#worst = 0;
    this.#attention?.stop();
    this.#attention = startTimer(this.#clock, ATTENTION_MS, () => this.#measure(COARSE_MS));
    return late;
  }

  #late(): number {
    return Math.max(this.#worst, this.#lateness?.worst() ?? 0);
  }

  #measure(everyMs: number): void {
    this.#worst = this.#late();
    this.#lateness?.stop();
    this.#lateness = this.#measureEvery(everyMs);
  }
}
