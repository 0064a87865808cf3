import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

interface Sleeper {
  readonly at: number;
  wake(): void;
}

/**
 * A clock for tests, moved by hand. Sleeps end in the order of their times, those of one time in
 * the order in which they began. Between two times the event loop gets some turns, so that a woken
 * task can work and sleep again.
 */
export class FakeClock implements Clock {
  readonly #settle: () => Promise<unknown>;
  /** In the order of {@link Sleeper.at}. */
  readonly #sleepers: Sleeper[] = [];
  readonly #epoch: number;
  #monotonic = 0;
  /** How far wall time was set forward or back. */
  #step = 0;

  /** `settle`: what has to happen before time goes on after something woke up. */
  constructor({
    epoch = Date.UTC(2026, 0, 1),
    settle = turns,
  }: {
    readonly epoch?: number;
    readonly settle?: () => Promise<unknown>;
  } = {}) {
    this.#epoch = epoch;
    this.#settle = settle;
  }

  now(): number {
    return this.#epoch + this.#step + this.#monotonic;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Milliseconds from now at which the sleepers wake up, in their order. */
  get sleeping(): readonly number[] {
    return this.#sleepers.map(({ at }) => at - this.#monotonic);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#remove(sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        at: this.#monotonic + Math.max(0, ms),
        wake() {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#add(sleeper);
    });
  }

  /** Moves time on, from sleeper to sleeper. */
  async advance(ms: number): Promise<void> {
    const until = this.#monotonic + ms;
    await this.#settle();
    for (;;) {
      const [first] = this.#sleepers;
      if (first === undefined || first.at > until) break;
      this.#monotonic = Math.max(this.#monotonic, first.at);
      this.#remove(first);
      first.wake();
      await this.#settle();
    }
    this.#monotonic = until;
  }

  /** Sets wall time forward or back, as an administrator or NTP does. No sleeper wakes up. */
  setWallTime(by: number): void {
    this.#step += by;
  }

  #add(sleeper: Sleeper): void {
    const at = this.#sleepers.findIndex((other) => other.at > sleeper.at);
    this.#sleepers.splice(at < 0 ? this.#sleepers.length : at, 0, sleeper);
  }

  #remove(sleeper: Sleeper): void {
    const at = this.#sleepers.indexOf(sleeper);
    if (at >= 0) this.#sleepers.splice(at, 1);
  }
}

const TURNS = 10;

/** Work in memory takes a few turns from one sleep to the next, however slow the machine is. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await nextTurn();
}
