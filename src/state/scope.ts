import type { KernelObject } from '#src/state/object.ts';

/** A part of the kernel's state that an owner answers for. An owner's territory is a list of these. */
export interface Scope {
  readonly kinds: readonly KernelObject['kind'][];
  /** Which objects of these kinds; all of them where this is absent. The kernel filters its dumps by it. */
  readonly filter?: ScopeFilter;
  /**
   * Whether an object in the scope that nobody wants was made by the owner (or by a flannel before it), judged by its
   * shape alone. Such an object is removed. A link that is in a scope is followed, whether it is owned or not.
   */
  owns(object: KernelObject): boolean;
}

/** Every field that is there must match. */
export interface ScopeFilter {
  /** What is on this device, or is this device. */
  readonly device?: string;
  /** Routes with this RTPROT_*, whatever their device: a blackhole has none. */
  readonly protocol?: number;
}
