import type { Holding } from '#src/reconcile/holding.ts';
import type { KernelObject } from '#src/state/object.ts';

/**
 * One place in the kernel, with what is wanted and what was found there. A peer has three of them, so a slot's size
 * decides what a network takes: nothing is held twice, and no text is held that could be made.
 */
export class Slot {
  /** Any object that is wanted, is or was in the slot: it identifies the slot. */
  object: KernelObject;
  wanted: KernelObject | undefined;
  /** Who wants it. */
  holding: Holding | undefined;
  /** What its owner wants it for: a lease's name for a peer. */
  subject: string | undefined;
  /** The very object of `wanted` where the two are equal. */
  found: KernelObject | undefined;
  /** Why the slot is to be looked at; `undefined` while it is not. */
  cause: Cause | undefined;
  /** Whether an event named the slot since our last change to it began: the event may be newer than the change. */
  reported = false;
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
