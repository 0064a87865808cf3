/**
 * Two programs that fight over one kernel object must not become a hot loop. A slot may be repaired at once some times
 * in a row; each repair uses up one, and one comes back every second. A fight ends up at one repair a second.
 */
export class RepairPacer {
  readonly #slots = new Map<string, { credit: number; at: number; fighting: boolean }>();

  /** How long to wait, from `now`, before the slot is repaired again, in milliseconds; 0 is at once. */
  delay(key: string, now: number): number {
    const slot = this.#slots.get(key);
    if (slot === undefined) return 0;
    return Math.max(0, (1 - this.#creditOf(slot, now)) * REFILL_MS);
  }

  /** Notes a repair; true when this one makes it a fight, so that a fight is logged once. */
  repaired(key: string, now: number): boolean {
    const slot = this.#slots.get(key) ?? { credit: BURST, at: now, fighting: false };
    slot.credit = this.#creditOf(slot, now) - 1;
    slot.at = now;
    this.#slots.set(key, slot);
    const begins = !slot.fighting && slot.credit < 1;
    if (slot.credit < 1) slot.fighting = true;
    return begins;
  }

  /** Forgets slots that have been left alone for long enough. */
  forgetOld(now: number): void {
    for (const [key, slot] of this.#slots) if (this.#creditOf(slot, now) >= BURST) this.#slots.delete(key);
  }

  #creditOf({ credit, at }: { readonly credit: number; readonly at: number }, now: number): number {
    return Math.min(BURST, credit + (now - at) / REFILL_MS);
  }
}

const BURST = 30;
const REFILL_MS = 1_000;
