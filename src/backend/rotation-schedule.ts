export interface ScheduleOptions {
  /** A key is renewed when it is so old at the latest, in milliseconds. */
  readonly intervalMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
}

/**
 * When this node begins a rotation, if nobody else does before. Each node draws its moment from the last eighth of the
 * interval, so that one of them begins and the others join. By the monotonic clock: a wall clock that jumps changes nothing.
 */
export class RotationSchedule {
  readonly #options: ScheduleOptions;
  #dueAt: number;

  /** `ageMs`: of the key, by the wall clock, which may have been set since. */
  constructor(options: ScheduleOptions, ageMs: number, now: number) {
    this.#options = options;
    const { intervalMs } = options;
    const age = Math.min(Math.max(0, ageMs), intervalMs);
    // Not at once at a start: all nodes may have been started together, after a long time.
    this.#dueAt = Math.max(this.#next(now - age), now + this.#spread());
  }

  /** By the monotonic clock. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** The key was renewed. Any node of the network may have begun that. */
  renewed(now: number): void {
    this.#dueAt = this.#next(now);
  }

  /** It is due, and can't begin now. */
  postpone(now: number): void {
    this.#dueAt = now + Math.min(this.#options.intervalMs, LONGEST_PAUSE_MS) / SHARE;
  }

  #next(from: number): number {
    return from + (this.#options.intervalMs * (SHARE - 1)) / SHARE + this.#spread();
  }

  #spread(): number {
    return (this.#options.intervalMs / SHARE) * this.#options.random();
  }
}

const SHARE = 8;
/** What is in the way may be gone after an eighth of this. */
const LONGEST_PAUSE_MS = 8 * 60_000;
