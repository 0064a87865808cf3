/**
 * Two programs that fight over one kernel object must not become a hot loop. A slot may be repaired at once a few
 * times in a row; from then on each repair waits twice as long as the one before, until the slot is left alone.
 */
export class RepairPacer {
  readonly #histories = new Map<string, { count: number; last: number }>();

  /**
   * How long to wait, from `now`, before the slot is repaired again, in milliseconds; 0 is at once. Only for
   * slots that had been right: a first attempt is never delayed.
   */
  delay(key: string, now: number): number {
    const history = this.#histories.get(key);
    if (history === undefined || history.count < FREE_REPAIRS) return 0;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (history.count - FREE_REPAIRS), LONGEST_PAUSE_MS);
    return Math.max(0, history.last + pause - now);
  }

  /** Notes a repair; true when this one makes it a fight, so that it is said once. */
  repaired(key: string, now: number): boolean {
    const history = this.#histories.get(key);
    if (history === undefined || now - history.last > PEACE_MS) {
      this.#histories.set(key, { count: 1, last: now });
      return false;
    }
    history.count++;
    history.last = now;
    return history.count === FREE_REPAIRS;
  }

  /** Forgets slots that have been left alone for long enough. */
  forgetOld(now: number): void {
    for (const [key, { last }] of this.#histories) if (now - last > PEACE_MS) this.#histories.delete(key);
  }
}

const FREE_REPAIRS = 10;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
const PEACE_MS = 60_000;
