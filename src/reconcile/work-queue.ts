import type { Cause, Slot } from '#src/reconcile/slot.ts';

/** A slot that was taken to be looked at, and why. */
export interface Job {
  readonly slot: Slot;
  readonly cause: Cause;
}

interface Lane {
  slots: Slot[];
  /** How many of them were taken. */
  taken: number;
  /** Slots whose time has not come. */
  waiting: Slot[];
}

/**
 * Slots to look at (see {@link Slot.cause}). Every owner has a lane, and lanes are served in turn, so that one owner's
 * 150,000 slots do not hold up the three of another.
 */
export class WorkQueue<O> {
  readonly #lanes = new Map<O | undefined, Lane>();
  /** When the first waiting slot's time comes, by the monotonic clock. */
  #dueAt = Number.POSITIVE_INFINITY;

  /** When to take from the queue again, though nothing was added. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** Whether there is nothing to do now. */
  get isEmpty(): boolean {
    for (const { slots, taken } of this.#lanes.values()) if (taken < slots.length) return false;
    return true;
  }

  add(slot: Slot, cause: Cause, owner: O | undefined): void {
    if (slot.cause === undefined) this.#laneOf(owner).slots.push(slot);
    if (slot.cause !== 'kernel') slot.cause = cause;
  }

  /**
   * The slot has another owner now, and is looked at in the lane of that owner. Where it is in the lane of the former
   * owner too, the lane that is served first counts, and the place in the other one is passed over.
   */
  pass(slot: Slot, owner: O | undefined): void {
    this.#laneOf(owner).slots.push(slot);
    slot.cause ??= 'wanted';
  }

  #laneOf(owner: O | undefined): Lane {
    let lane = this.#lanes.get(owner);
    if (lane === undefined) {
      lane = { slots: [], taken: 0, waiting: [] };
      this.#lanes.set(owner, lane);
    }
    return lane;
  }

  /** Whether there is nothing of the owner's to do now. */
  isIdle(owner: O): boolean {
    const lane = this.#lanes.get(owner);
    return lane === undefined || lane.taken === lane.slots.length;
  }

  /** What there is to do for an owner, now or later. */
  *of(owner: O): Generator<Slot> {
    const lane = this.#lanes.get(owner);
    if (lane === undefined) return;
    for (let at = lane.taken; at < lane.slots.length; at++) {
      const slot = lane.slots[at];
      if (slot !== undefined) yield slot;
    }
    yield* lane.waiting;
  }

  /** Forgets what there is to do for an owner. Returns the slots: some may belong to other owners by now. */
  drop(owner: O): Slot[] {
    const lane = this.#lanes.get(owner);
    this.#lanes.delete(owner);
    const dropped = [...(lane?.slots.slice(lane.taken) ?? []), ...(lane?.waiting ?? [])];
    for (const slot of dropped) slot.cause = undefined;
    return dropped;
  }

  /** Takes at most `limit` slots, as many from each lane. `waitFor`: milliseconds until a slot may be looked at. */
  take(limit: number, now: number, waitFor: (slot: Slot, cause: Cause) => number): Job[] {
    this.#wake(now);
    const busy = [...this.#lanes.values()].filter(({ slots, taken }) => taken < slots.length);
    const share = Math.max(LEAST, Math.floor(limit / busy.length / LEAST) * LEAST);
    const jobs: Job[] = [];
    for (const lane of busy) this.#takeFrom(lane, share, now, waitFor, jobs);
    for (const [owner, lane] of this.#lanes)
      if (lane.taken === lane.slots.length && lane.waiting.length === 0) this.#lanes.delete(owner);
    return jobs;
  }

  #takeFrom(
    lane: Lane,
    limit: number,
    now: number,
    waitFor: (slot: Slot, cause: Cause) => number,
    jobs: Job[],
  ): void {
    for (let taken = 0; taken < limit; ) {
      const slot = lane.slots[lane.taken];
      if (slot === undefined) break;
      lane.taken++;
      const { cause } = slot;
      // It was looked at in another lane.
      if (cause === undefined) continue;
      const wait = waitFor(slot, cause);
      if (wait > 0) {
        lane.waiting.push(slot);
        this.#dueAt = Math.min(this.#dueAt, now + wait);
        continue;
      }
      slot.cause = undefined;
      taken++;
      jobs.push({ slot, cause });
    }
    if (lane.taken < lane.slots.length) return;
    lane.slots = [];
    lane.taken = 0;
  }

  /** Slots that wait are asked again how long, at the earliest time that one of them gave. */
  #wake(now: number): void {
    if (now < this.#dueAt) return;
    this.wakeAll();
  }

  /** The reasons to wait may be gone: each slot is asked again. */
  wakeAll(): void {
    this.#dueAt = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) {
      for (const slot of lane.waiting) lane.slots.push(slot);
      lane.waiting = [];
    }
  }
}

/** A multiple of what a peer has in any backend, so that a peer's slots go together. */
const LEAST = 12;
