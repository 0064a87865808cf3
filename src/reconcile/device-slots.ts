import type { Slot } from '#src/reconcile/slot.ts';
import type { Kinds } from '#src/state/kinds.ts';
import type { KernelObject } from '#src/state/object.ts';

/**
 * The slots in which something was found, by the device that it is on: what there is on one of 10,000 devices is known without a
 * walk over all slots. A device with many, such as the tunnel to 50,000 peers, has none listed here: such a list would take
 * more memory than the walk is worth.
 */
export class DeviceSlots {
  readonly #kinds: Kinds<KernelObject>;
  /** The slots of a device with few; the number of those of a device with many. */
  readonly #slots = new Map<string, Slot[] | number>();

  constructor(kinds: Kinds<KernelObject>) {
    this.#kinds = kinds;
  }

  /** The device that an object is on; `undefined` for a device itself. */
  deviceOf(object: KernelObject | undefined): string | undefined {
    if (object === undefined) return undefined;
    const kind = this.#kinds.of(object);
    return kind.isDevice ? undefined : kind.deviceOf(object);
  }

  /** The slots of a device; `undefined` where it has too many to be listed. */
  of(device: string): readonly Slot[] | undefined {
    const slots = this.#slots.get(device);
    return typeof slots === 'number' ? undefined : slots === undefined ? NONE : [...slots];
  }

  /** What is in the slot is another object, or gone. */
  move(slot: Slot, from: KernelObject | undefined, to: KernelObject | undefined): void {
    if (from === to) return;
    const [before, after] = [this.deviceOf(from), this.deviceOf(to)];
    if (before === after) return;
    if (before !== undefined) this.#remove(before, slot);
    if (after !== undefined) this.#add(after, slot);
  }

  #add(device: string, slot: Slot): void {
    const slots = this.#slots.get(device);
    if (slots === undefined) this.#slots.set(device, [slot]);
    else if (typeof slots === 'number') this.#slots.set(device, slots + 1);
    else if (slots.length < MOST_LISTED) slots.push(slot);
    else this.#slots.set(device, slots.length + 1);
  }

  #remove(device: string, slot: Slot): void {
    const slots = this.#slots.get(device);
    if (typeof slots === 'number') {
      // It is listed again when it has had none.
      if (slots === 1) this.#slots.delete(device);
      else this.#slots.set(device, slots - 1);
      return;
    }
    const at = slots?.indexOf(slot) ?? -1;
    if (slots === undefined || at < 0) return;
    slots.splice(at, 1);
    if (slots.length === 0) this.#slots.delete(device);
  }
}

const NONE: readonly Slot[] = [];
/** A container's port has three, the device of a network without peers as many. */
const MOST_LISTED = 16;
