import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

/** A way to list, change and watch some kinds of kernel state. rtnetlink (`Kernel`) is one. */
export interface Actuator {
  readonly kinds: readonly KernelObject['kind'][];

  /** Calls back with every object that the query asks for. What it reports may be gone meanwhile: events say so. */
  scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void>;

  /** Applies the operations in order; one result each, in the same order. A refused operation does not stop the others. */
  apply(operations: readonly Operation[]): Promise<OperationResult[]>;

  /** Calls back for every change until the signal aborts. Resolves when changes from then on are reported. */
  monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void>;

  /** Mutes entries of these devices while thousands of our own changes are made. See `Kernel.muffle`. */
  muffle?(devices: readonly string[]): Promise<() => void>;
}
