import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '#src/sys/clock.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

/**
 * Time that passes only when a test says so. Sleepers wake in the order of their time, each with a turn of the event loop
 * for what it does then, so that it may sleep again within the same step.
 */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 0;
  #sleepers: Sleeper[] = [];

  constructor({ wall = 1_000_000_000_000 } = {}) {
    this.#wall = wall;
  }

  now = (): number => this.#wall;
  monotonic = (): number => this.#monotonic;

  /** Number of those who wait. */
  get sleepers(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason);
      };
      const wake = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const sleeper: Sleeper = { at: this.#monotonic + ms, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Time passes, from one sleeper's time to the next. */
  async pass(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await turn();
    for (;;) {
      const at = Math.min(end, ...this.#sleepers.map((sleeper) => sleeper.at));
      this.#advance(Math.max(0, at - this.#monotonic));
      const due = this.#sleepers.filter((sleeper) => sleeper.at <= this.#monotonic);
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at > this.#monotonic);
      for (const { wake } of due) wake();
      await turn();
      if (due.length === 0 && this.#monotonic >= end) return;
    }
  }

  /** Somebody sets the wall clock. */
  jump(ms: number): void {
    this.#wall += ms;
  }

  #advance(ms: number): void {
    this.#monotonic += ms;
    this.#wall += ms;
  }
}
