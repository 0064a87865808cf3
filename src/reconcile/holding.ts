import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import type { Explain, OwnerRequest } from '#src/reconcile/owner.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { Scope } from '#src/state/scope.ts';

/** What the reconciler remembers of one owner. */
export class Holding {
  readonly name: string;
  /** See {@link OwnerRequest.scopes}. */
  readonly scopes: () => readonly Scope[];
  readonly explain: Explain | undefined;
  readonly events: HostEvents;
  /** The slots of each `set`, by its subject. */
  readonly slots = new Map<string, readonly Slot[]>();
  /** Slots in which what this owner wants counts. */
  wanted = 0;
  /** The same by kind. */
  readonly wantedByKind = new Map<string, number>();
  /** Whether what is owned and wanted by nobody is removed. */
  mayRemove = false;
  /** After {@link Owner.release}: what is set then comes too late. */
  isReleased = false;
  /** Keys of slots that another owner has, as far as they were logged. */
  readonly lost = new Set<string>();
  repairs = 0;
  /** The same by kind. */
  readonly repairsByKind = new Map<string, number>();
  checks = 0;
  /** Called when all that can be done for the owner has been done. */
  readonly waiters: (() => void)[] = [];

  constructor({ name, scopes, explain, events = silentEvents }: OwnerRequest) {
    this.name = name;
    this.scopes = scopes;
    this.explain = explain;
    this.events = events;
  }

  /** What it wants counts in one slot more, or in one less. */
  countWanted(kind: string, by: 1 | -1): void {
    this.wanted += by;
    this.wantedByKind.set(kind, (this.wantedByKind.get(kind) ?? 0) + by);
  }

  /** Something that had been right was repaired. */
  noteRepair(kind: string): void {
    this.repairs++;
    this.repairsByKind.set(kind, (this.repairsByKind.get(kind) ?? 0) + 1);
  }
}
