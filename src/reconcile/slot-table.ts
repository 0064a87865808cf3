import { isAsWanted } from '#src/reconcile/compare.ts';
import { type KernelObject, keyOf, sharesSlot } from '#src/state/object.ts';

/**
 * One place in the kernel, and what should be and is in it. A peer has three, so that what a slot takes is what a
 * network takes: nothing is held twice, and no text is held that could be made.
 */
export class Slot {
  /** Any object that should be, is or was in it: what tells it from others. */
  object: KernelObject;
  wanted: KernelObject | undefined;
  /** On whose behalf: `own` for what the node needs itself, a lease's name for a peer. */
  owner: string | undefined;
  /** The very object of `wanted` where the two are equal. */
  found: KernelObject | undefined;
  /** Why it is to be looked at; `undefined` while it is not. */
  cause: Cause | undefined;
  /** Whether the kernel told of it since the last change of ours to it was begun: what it told may be newer than the change. */
  told = false;
  /** The look at the kernel that `found` is as of, or a change since then. See {@link SlotTable.beginLook}. */
  seen = 0;
  /** Another slot of the same bucket. */
  next: Slot | undefined;

  constructor(object: KernelObject) {
    this.object = object;
  }
}

/** What is wanted changed, or the kernel changed under us. */
export type Cause = 'wanted' | 'kernel';

/** What tells most slots of a kind apart, as it stands in the object: a key of its own for each would be half of what a peer takes. */
type Bucket = number | bigint | string;

/**
 * What should be in the kernel and what is, slot by slot. One lease's event costs one lease's work, not the network's.
 */
export class SlotTable {
  readonly #buckets: Readonly<Record<KernelObject['kind'], Map<Bucket, Slot>>> = {
    link: new Map(),
    address: new Map(),
    fdb: new Map(),
    neighbour: new Map(),
    route: new Map(),
  };
  readonly #owned = new Map<string, readonly Slot[]>();
  #wanted = 0;
  /** Counts by two: what changed since the look has the odd number after it. */
  #look = 0;
  /** Keys of slots that were emptied while the look is under way, and that nothing is wanted in. */
  #left: Set<string> | undefined;

  /** Slots in which something is wanted. */
  get wanted(): number {
    return this.#wanted;
  }

  *[Symbol.iterator](): Generator<Slot> {
    for (const bucket of Object.values(this.#buckets)) {
      for (const first of bucket.values()) {
        for (let slot: Slot | undefined = first; slot !== undefined; slot = slot.next) yield slot;
      }
    }
  }

  /** Calls back with every slot, at a fifth of the cost: for loops without a pause. */
  each(visit: (slot: Slot) => void): void {
    for (const bucket of Object.values(this.#buckets)) {
      bucket.forEach((first) => {
        for (let slot: Slot | undefined = first; slot !== undefined; slot = slot.next) visit(slot);
      });
    }
  }

  /** The slot that the object is in or would be in, where anything is wanted in it or was found. */
  find(object: KernelObject): Slot | undefined {
    let slot = this.#buckets[object.kind].get(bucketOf(object));
    while (slot !== undefined && !sharesSlot(slot.object, object)) slot = slot.next;
    return slot;
  }

  /**
   * Says all that is wanted on the owner's behalf; none withdraws it. Calls back with the slots to look at. A slot that
   * passes from one owner to another (a VTEP MAC that moved with its host) stays with the one that asked last.
   */
  want(owner: string, objects: readonly KernelObject[], look: (slot: Slot) => void): void {
    const slots = objects.map((object) => this.#want(owner, object));
    for (const slot of this.#owned.get(owner) ?? []) {
      if (slot.owner === owner && !slots.includes(slot)) this.#withdraw(slot, look);
    }
    if (slots.length > 0) this.#owned.set(owner, slots);
    else this.#owned.delete(owner);
    for (const slot of slots) look(slot);
  }

  #want(owner: string, object: KernelObject): Slot {
    const slot = this.find(object) ?? this.#add(object);
    slot.owner = owner;
    if (slot.wanted === undefined) this.#wanted++;
    else if (isEqual(slot.wanted, object)) return slot;
    slot.object = object;
    slot.wanted = object;
    if (slot.found !== undefined && isEqual(object, slot.found)) slot.found = object;
    return slot;
  }

  #withdraw(slot: Slot, look: (slot: Slot) => void): void {
    slot.wanted = undefined;
    slot.owner = undefined;
    this.#wanted--;
    if (slot.found === undefined) this.#leave(slot);
    look(slot);
  }

  /** Notes that the object is in its slot now, whatever a look that is under way says. */
  put(object: KernelObject): Slot {
    return this.#fill(this.find(object) ?? this.#add(object), object, this.#look + 1);
  }

  /** Notes that the slot is empty now, likewise. */
  clear(slot: Slot): void {
    slot.seen = this.#look + 1;
    slot.found = undefined;
    if (slot.wanted === undefined) this.#leave(slot);
  }

  /**
   * Begins a look at all of the kernel: what was found before counts until {@link endLook} says that it was not found
   * again. What changes meanwhile is newer than what the look finds.
   */
  beginLook(): void {
    this.#look += 2;
    this.#left = new Set();
  }

  /** What the look found, in the slot that {@link find} gives for it. */
  sight(object: KernelObject, slot: Slot | undefined): void {
    const isOld = slot === undefined ? this.#hasLeft(object) : slot.seen > this.#look;
    if (!isOld) this.#fill(slot ?? this.#add(object), object, this.#look);
  }

  #hasLeft(object: KernelObject): boolean {
    return this.#left !== undefined && this.#left.size > 0 && this.#left.has(keyOf(object));
  }

  /** Every slot, those that the look did not find emptied: to be gone through before the next look begins. */
  *endLook(): Generator<Slot> {
    this.#left = undefined;
    for (const slot of this) {
      if (slot.seen < this.#look && slot.found !== undefined) this.clear(slot);
      yield slot;
    }
  }

  #fill(slot: Slot, object: KernelObject, seen: number): Slot {
    const { wanted } = slot;
    slot.found = wanted !== undefined && isEqual(wanted, object) ? wanted : object;
    slot.seen = seen;
    return slot;
  }

  #add(object: KernelObject): Slot {
    const bucket = this.#buckets[object.kind];
    const slot = new Slot(object);
    const key = bucketOf(object);
    slot.next = bucket.get(key);
    bucket.set(key, slot);
    return slot;
  }

  /** Takes an empty slot that nothing is wanted in out of its bucket. */
  #leave(slot: Slot): void {
    const { object } = slot;
    if (slot.seen > this.#look) this.#left?.add(keyOf(object));
    const bucket = this.#buckets[object.kind];
    const key = bucketOf(object);
    const first = bucket.get(key);
    if (first === slot) {
      if (slot.next === undefined) bucket.delete(key);
      else bucket.set(key, slot.next);
      return;
    }
    for (let before = first; before !== undefined; before = before.next)
      if (before.next === slot) before.next = slot.next;
  }
}

function bucketOf(object: KernelObject): Bucket {
  switch (object.kind) {
    case 'link':
      return object.name;
    case 'fdb':
      return object.mac;
    case 'address':
      return addressBucket(object.prefix.address);
    case 'neighbour':
      return addressBucket(object.ip);
    case 'route':
      return addressBucket(object.destination.address);
  }
}

/** As a signed 32-bit number, which V8 holds in the map itself; above 2^31 an unsigned one would be an object. */
const addressBucket = (address: number | bigint): number | bigint =>
  typeof address === 'number' ? address | 0 : address;

/** A link that is as wanted has more to it than is wanted. */
const isEqual = (a: KernelObject, b: KernelObject): boolean =>
  a === b || (a.kind !== 'link' && isAsWanted(a, b));
