import type { DumpQuery } from '#src/kernel/kernel.ts';
import { DeviceSlots } from '#src/reconcile/device-slots.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import { SlotBuckets } from '#src/reconcile/slot-buckets.ts';
import type { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';

/** What an owner wants in a slot that another owner took first. */
export interface Rival {
  readonly holding: Holding;
  readonly subject: string;
  readonly object: KernelObject;
}

/** A slot to look at. `isWithdrawn`: its owner no longer wants anything there, and the next owner may have it now. */
export type LookAt = (slot: Slot, isWithdrawn: boolean) => void;

/** What should be in the kernel and what is, slot by slot. One lease's event costs one lease's work, not the network's. */
export class SlotTable {
  readonly #kinds: Kinds<KernelObject>;
  readonly #buckets: SlotBuckets;
  readonly #onDevices: DeviceSlots;
  /** Later owners of a slot, in the order in which they came. */
  readonly #rivals = new Map<Slot, readonly Rival[]>();
  /** By later owner: those slots. 1,000 networks share a setting of the host. */
  readonly #sharedBy = new Map<Holding, Set<Slot>>();
  #wanted = 0;
  /** Counts by two: a change since the look has the odd number after it. */
  #look = 0;
  /** Keys of slots that were emptied while the look is under way, and in which nothing is wanted. */
  #left: Set<string> | undefined;

  constructor(kinds: Kinds<KernelObject> = KINDS) {
    this.#kinds = kinds;
    this.#buckets = new SlotBuckets(kinds);
    this.#onDevices = new DeviceSlots(kinds);
  }

  /** Slots in which something is wanted. */
  get wanted(): number {
    return this.#wanted;
  }

  [Symbol.iterator](): Generator<Slot> {
    return this.#buckets[Symbol.iterator]();
  }

  /** See {@link SlotBuckets.each}. */
  each(visit: (slot: Slot) => void): void {
    this.#buckets.each(visit);
  }

  /** The slots in which something was found that is on the device, without the device itself. */
  foundOn(device: string): Iterable<Slot> {
    return this.#onDevices.of(device) ?? this.#scanFor(device);
  }

  /** The slots in which something was found that the query lists. */
  *foundBy(query: DumpQuery): Generator<Slot> {
    const { kinds, device } = query;
    if (device === undefined) {
      for (const kind of kinds) {
        const found: Slot[] = [];
        this.eachOf(kind, (slot) => void (isListed(slot, query) && found.push(slot)));
        yield* found;
      }
      return;
    }
    const listed = this.#onDevices.of(device);
    for (const slot of listed ?? this.#scanFor(device, kinds)) if (isListed(slot, query)) yield slot;
    const link = kinds.includes('link') ? this.find({ kind: 'link', name: device }) : undefined;
    if (link?.found !== undefined) yield link;
  }

  *#scanFor(device: string, kinds?: readonly KernelObject['kind'][]): Generator<Slot> {
    const slots = kinds === undefined ? this : this.#buckets.of(kinds);
    for (const slot of slots) if (this.#onDevices.deviceOf(slot.found) === device) yield slot;
  }

  /** Calls back with every slot of one kind. */
  eachOf(kind: KernelObject['kind'], visit: (slot: Slot) => void): void {
    this.#buckets.eachOf(kind, visit);
  }

  /** The slot that the object is in or would be in, where anything is wanted in it or was found. */
  find(object: KernelObject): Slot | undefined {
    return this.#buckets.find(object);
  }

  /**
   * Sets all that the owner wants for one subject; an empty list withdraws it. Calls back with the slots to look at. A slot
   * that passes from one subject of an owner to another (a VTEP MAC that moved with its host) stays with the later one. A slot
   * that another owner has stays with that owner. Throws a TypeError when an object has a kind that is not in this table;
   * then nothing has changed.
   */
  want(holding: Holding, subject: string, objects: readonly KernelObject[], look: LookAt): void {
    for (const object of objects) this.#kinds.of(object);
    const slots = objects.map((object) => this.#want(holding, subject, object));
    for (const slot of holding.slots.get(subject) ?? []) {
      if (!slots.includes(slot)) this.#withdraw(slot, holding, subject, look);
    }
    if (slots.length > 0) holding.slots.set(subject, slots);
    else holding.slots.delete(subject);
    for (const slot of slots) look(slot, false);
  }

  #want(holding: Holding, subject: string, object: KernelObject): Slot {
    const slot = this.find(object) ?? this.#buckets.add(object);
    if (slot.wanted !== undefined && slot.holding !== holding) {
      this.#setRival(slot, holding, { holding, subject, object });
      return slot;
    }
    if (slot.wanted === undefined) this.#count(holding, object, 1);
    slot.holding = holding;
    slot.subject = subject;
    if (slot.wanted === undefined || !this.#isEqual(slot.wanted, object)) this.#fillWanted(slot, object);
    return slot;
  }

  #fillWanted(slot: Slot, object: KernelObject): void {
    slot.object = object;
    slot.wanted = object;
    if (slot.found !== undefined && this.#isEqual(object, slot.found)) this.#setFound(slot, object);
  }

  #withdraw(slot: Slot, holding: Holding, subject: string, look: LookAt): void {
    if (slot.holding !== holding) {
      const rival = this.#rivalsOf(slot).find((rival) => rival.holding === holding);
      if (rival?.subject === subject) this.#setRival(slot, holding, undefined);
      return;
    }
    if (slot.subject !== subject) return;
    if (slot.wanted !== undefined) this.#count(holding, slot.wanted, -1);
    slot.wanted = undefined;
    slot.holding = undefined;
    slot.subject = undefined;
    const [heir] = this.#rivalsOf(slot);
    if (heir !== undefined) {
      this.#setRival(slot, heir.holding, undefined);
      this.#want(heir.holding, heir.subject, heir.object);
    } else if (slot.found === undefined) this.#leave(slot);
    look(slot, true);
  }

  #count(holding: Holding, { kind }: KernelObject, by: 1 | -1): void {
    holding.countWanted(kind, by);
    this.#wanted += by;
  }

  #rivalsOf(slot: Slot): readonly Rival[] {
    return this.#rivals.size === 0 ? [] : (this.#rivals.get(slot) ?? []);
  }

  #setRival(slot: Slot, holding: Holding, rival: Rival | undefined): void {
    const before = this.#rivalsOf(slot);
    const at = before.findIndex((other) => other.holding === holding);
    const after = before.filter((other) => other.holding !== holding);
    if (rival !== undefined) after.splice(at < 0 ? after.length : at, 0, rival);
    if (after.length > 0) this.#rivals.set(slot, after);
    else this.#rivals.delete(slot);
    const shared = this.#sharedBy.get(holding) ?? new Set();
    if (rival === undefined) shared.delete(slot);
    else shared.add(slot);
    if (shared.size > 0) this.#sharedBy.set(holding, shared);
    else this.#sharedBy.delete(holding);
  }

  /** Whether any slot is wanted by several owners. */
  get hasRivals(): boolean {
    return this.#rivals.size > 0;
  }

  /**
   * What owners want and do not get, or one of them, because another owner wants something else in the slot. Owners that want the
   * same share it.
   */
  *contended(holding?: Holding): Generator<{ readonly slot: Slot; readonly rival: Rival }> {
    const slots = holding === undefined ? this.#rivals.keys() : (this.#sharedBy.get(holding) ?? []);
    for (const slot of slots) {
      const all = this.#rivalsOf(slot);
      for (const rival of holding === undefined ? all : all.filter((it) => it.holding === holding)) {
        const { wanted } = slot;
        if (wanted !== undefined && !this.#isSame(wanted, rival.object)) yield { slot, rival };
      }
    }
  }

  /** Withdraws everything of an owner. Calls back with the slots that it had. */
  release(holding: Holding, look: LookAt): void {
    for (const [subject, slots] of holding.slots)
      for (const slot of slots) this.#withdraw(slot, holding, subject, look);
    holding.slots.clear();
  }

  /** Notes that the object is in its slot now, whatever a look that is under way finds. */
  put(object: KernelObject): Slot {
    return this.#fill(this.find(object) ?? this.#buckets.add(object), object, this.#look + 1);
  }

  /** Notes that the slot is empty now, likewise. */
  clear(slot: Slot): void {
    slot.seen = this.#look + 1;
    this.#setFound(slot, undefined);
    if (slot.wanted === undefined) this.#leave(slot);
  }

  /**
   * Begins a look at all of the kernel: what was found before counts until {@link endLook} finds that it was not seen
   * again. A change meanwhile is newer than what the look finds.
   */
  beginLook(): void {
    this.#look += 2;
    this.#left = new Set();
  }

  /** What the look found, in the slot that {@link find} gives for it. */
  sight(object: KernelObject, slot: Slot | undefined): void {
    const isOld = slot === undefined ? this.#hasLeft(object) : slot.seen > this.#look;
    if (!isOld) this.#fill(slot ?? this.#buckets.add(object), object, this.#look);
  }

  #hasLeft(object: KernelObject): boolean {
    return this.#left !== undefined && this.#left.size > 0 && this.#left.has(this.#keyOf(object));
  }

  /** Every slot; those that the look did not find are emptied. To be gone through before the next look begins. */
  *endLook(): Generator<Slot> {
    yield* this.endLookAt(this);
  }

  /** The same after a look at a part of the kernel: `slots` are all that it could have found something in. */
  *endLookAt(slots: Iterable<Slot>): Generator<Slot> {
    this.#left = undefined;
    for (const slot of slots) {
      if (slot.seen < this.#look && slot.found !== undefined) this.clear(slot);
      yield slot;
    }
  }

  #fill(slot: Slot, object: KernelObject, seen: number): Slot {
    const { wanted } = slot;
    this.#setFound(slot, wanted !== undefined && this.#isEqual(wanted, object) ? wanted : object);
    slot.seen = seen;
    return slot;
  }

  #setFound(slot: Slot, object: KernelObject | undefined): void {
    this.#onDevices.move(slot, slot.found, object);
    slot.found = object;
  }

  /** Takes out an empty slot in which nothing is wanted. */
  #leave(slot: Slot): void {
    if (slot.seen > this.#look) this.#left?.add(this.#keyOf(slot.object));
    this.#buckets.remove(slot);
  }

  #keyOf(object: KernelObject): string {
    return this.#kinds.of(object).key(object);
  }

  /** Whether one object may stand for the other. What is found of a device is more than what is wanted of it. */
  #isEqual(wanted: KernelObject, object: KernelObject): boolean {
    if (wanted === object) return true;
    const kind = this.#kinds.of(wanted);
    return !kind.isDevice && kind.isAsWanted(wanted, object);
  }

  /** Whether two owners want the same. */
  #isSame(a: KernelObject, b: KernelObject): boolean {
    const kind = this.#kinds.of(a);
    return kind.isAsWanted(a, b) && kind.isAsWanted(b, a);
  }
}

/** Whether something was found in it that the query lists, its device aside. */
function isListed({ found }: Slot, { kinds, protocol }: DumpQuery): boolean {
  if (found === undefined || !kinds.includes(found.kind)) return false;
  return protocol === undefined || (found.kind === 'route' && found.protocol === protocol);
}
