import { BEAT_MS, untilBeat } from '#src/sys/beat.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { type LoopLateness, type MeasureLoop, measureLoop } from '#src/sys/loop-lateness.ts';
import { startTimer, type Timer } from '#src/sys/timer.ts';

/** A timer every 10 ms takes 1 % of a processor. The beat, on which others wake as well, takes next to nothing, but misses short delays. */
const FINE_MS = 10;
/** The measurement stays fine for this long after a question. */
const ATTENTION_MS = 2_000;

export interface LoopDelayComponents {
  readonly clock: Clock;
  readonly measure: MeasureLoop;
}

/**
 * The largest delay of a timer of this process. Measured finely while it is asked for repeatedly,
 * once in each beat otherwise.
 */
export class LoopDelay {
  readonly #clock: Clock;
  readonly #measureEvery: MeasureLoop;
  readonly #end = new AbortController();
  #lateness: LoopLateness | undefined;
  #attention: Timer | undefined;
  /** Beside the fine measurement that runs, since the last question. */
  #worst = 0;

  constructor({ clock, measure }: LoopDelayComponents = { clock: systemClock, measure: measureLoop }) {
    this.#clock = clock;
    this.#measureEvery = measure;
  }

  start(): void {
    // It rejects only at the end.
    this.#followBeat().catch(() => {});
  }

  stop(): void {
    this.#end.abort('stopped');
    this.#attention?.stop();
    this.#endFine();
  }

  /** Milliseconds since the last call; resets the measurement. */
  take(): number {
    this.#endFine();
    const late = this.#worst;
    this.#worst = 0;
    this.#lateness = this.#measureEvery(FINE_MS);
    this.#attention?.stop();
    this.#attention = startTimer(this.#clock, ATTENTION_MS, () => this.#endFine());
    return late;
  }

  async #followBeat(): Promise<never> {
    for (;;) this.#worst = Math.max(this.#worst, await untilBeat(this.#clock, BEAT_MS, this.#end.signal));
  }

  #endFine(): void {
    this.#worst = Math.max(this.#worst, this.#lateness?.worst() ?? 0);
    this.#lateness?.stop();
    this.#lateness = undefined;
  }
}
