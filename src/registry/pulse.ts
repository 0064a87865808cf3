export interface PulseOptions {
  /** After so long without a sign of life, one is asked for. */
  readonly quietMs: number;
  /** How long the sign may take. */
  readonly answerMs: number;
  ask(): void;
  /** Called once: nothing came. */
  onSilence(): void;
}

/** Tells a connection that has nothing to say from one whose other end is frozen or cut off. */
export class Pulse {
  readonly #options: PulseOptions;
  #timer: NodeJS.Timeout | undefined;
  #silent = false;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** Whether the other end was found silent. */
  get silent(): boolean {
    return this.#silent;
  }

  /** A sign of life came: the next is asked for only after the quiet time. */
  felt(): void {
    this.#after(this.#options.quietMs, () => {
      this.#options.ask();
      this.expect(this.#options.answerMs);
    });
  }

  /** A sign has to come within `ms`. */
  expect(ms: number): void {
    this.#after(ms, () => {
      const expired = this.#timer;
      // After a pause of this process (a stopped machine, a long turn) timers run before the socket is read, so an
      // answer may be waiting: give it one turn.
      setImmediate(() => {
        if (this.#timer !== expired) return;
        this.#silent = true;
        this.#options.onSilence();
      });
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #after(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }
}
