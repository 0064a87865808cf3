import type { Slot } from '#src/reconcile/slot.ts';
import type { TakenAlong } from '#src/state/kind.ts';

/** What is to be compared of what is on one device. */
export interface DeviceLook {
  /** Kinds of objects; `undefined` for all. */
  readonly kinds: ReadonlySet<string> | undefined;
  /** Slots in which something that is wanted was on it. */
  readonly slots: ReadonlySet<Slot>;
}

/** Devices of which more than this wait are compared with everything at once: one list of all costs less than so many questions. */
const MOST_DEVICES = 100;

/** The devices of which something may have gone without a report. Each is looked at once, whatever asked for it. */
export class DeviceLooks {
  readonly #looks = new Map<string, { kinds: Set<string> | undefined; readonly slots: Set<Slot> }>();

  get any(): boolean {
    return this.#looks.size > 0;
  }

  /** False when there are too many. */
  add(device: string, taken: Exclude<TakenAlong, 'any'>, slots: Iterable<Slot>): boolean {
    let look = this.#looks.get(device);
    if (look === undefined) {
      if (this.#looks.size >= MOST_DEVICES) return false;
      look = { kinds: new Set(), slots: new Set() };
      this.#looks.set(device, look);
    }
    if (taken === 'all') look.kinds = undefined;
    else for (const kind of taken) look.kinds?.add(kind);
    for (const slot of slots) look.slots.add(slot);
    return true;
  }

  take(): [string, DeviceLook][] {
    const taken = [...this.#looks];
    this.#looks.clear();
    return taken;
  }
}
