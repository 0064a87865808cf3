import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { Kind } from '#src/state/kind.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

/** All objects of an actuator, or those on one device. */
export type Stale = 'all' | { readonly device: string };

/** A way to list, change and watch some kinds of kernel state. rtnetlink (`Kernel`) is one. */
export interface Actuator {
  readonly kinds: readonly Kind<KernelObject>[];

  /**
   * Calls back with every object that the query asks for. What it reports may be gone meanwhile: events say so. Absent
   * where objects can't be listed: see {@link read}.
   */
  scan?(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void>;

  /** Calls back with what is in the slots of these objects, for kinds that can't be listed. */
  read?(wanted: readonly KernelObject[], visit: (object: KernelObject) => void): Promise<void>;

  /** Of which objects an event of any actuator means that what {@link read} gives may have changed; `undefined` for none. */
  staleAfter?(event: KernelEvent): Stale | undefined;

  /** Milliseconds after which {@link read} is called without an event. */
  readonly readEveryMs?: number;

  /** Applies the operations in order; one result each, in the same order. A refused operation does not stop the others. */
  apply(operations: readonly Operation[]): Promise<OperationResult[]>;

  /**
   * Calls back for every change until the signal aborts. Resolves when changes from then on are reported.
   */
  monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void>;

  /** Mutes entries of these devices while thousands of our own changes are made. See `Kernel.muffle`. */
  muffle?(devices: readonly string[]): Promise<() => void>;
}
