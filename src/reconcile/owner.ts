import type { HostEvents } from '#src/lib/host-events.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { KindCount } from '#src/reconcile/kind-counts.ts';
import type { OverdueSlot } from '#src/reconcile/overdue.ts';
import type { SubjectState } from '#src/reconcile/subject-state.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { KernelError, Operation } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

export interface OwnerRequest {
  /** For log lines and failures: a network's name. */
  readonly name: string;
  /**
   * Its part of the kernel. What it wants must lie in a scope, or comparisons do not find it. Read again at each use:
   * return the same list as long as nothing changes.
   */
  readonly scopes: () => readonly Scope[];
  /** What a refusal of the kernel means, where its own words don't say what is in the way. `links`: all devices there are. */
  readonly explain?: Explain;
  /** Takes the repairs and failures of what it wants. Default: nobody. */
  readonly events?: HostEvents;
}

export type Explain = (
  object: KernelObject,
  error: KernelError,
  links: readonly Link[],
) => string | undefined;

/** What a reader (status, health, metrics) may know. */
export interface OwnerStatus {
  /** Slots in which what is wanted counts. */
  readonly wanted: number;
  /** Slots that are not as wanted: the kernel's last word on each, or which owner has the slot. */
  readonly failing: readonly { readonly key: string; readonly reason: string }[];
  /** Slots that have not been as wanted for ten seconds and longer, whatever the cause. */
  readonly overdue?: readonly OverdueSlot[];
  /** Repairs of what had been right. */
  readonly repairs: number;
  /** Full comparisons. */
  readonly checks: number;
}

/** What an owner asks of the reconciler. */
export interface OwnerDesk {
  want(holding: Holding, subject: string, objects: readonly KernelObject[]): void;
  allowRemoval(holding: Holding): void;
  inBulk(holding: Holding, work: () => Promise<void>): Promise<void>;
  settled(holding: Holding): Promise<void>;
  statusOf(holding: Holding): OwnerStatus;
  stateOf(holding: Holding, subject: string): SubjectState;
  kindsOf(holding: Holding): ReadonlyMap<string, KindCount>;
  plan(holding: Holding): Promise<Operation[]>;
  release(holding: Holding): Promise<void>;
}

/** One owner of kernel state: a network, or an endpoint. */
export class Owner {
  readonly #desk: OwnerDesk;
  readonly #holding: Holding;

  constructor(desk: OwnerDesk, holding: Holding) {
    this.#desk = desk;
    this.#holding = holding;
  }

  get name(): string {
    return this.#holding.name;
  }

  get status(): OwnerStatus {
    return this.#desk.statusOf(this.#holding);
  }

  /** The same by kind of kernel state. */
  get kinds(): ReadonlyMap<string, KindCount> {
    return this.#desk.kindsOf(this.#holding);
  }

  /**
   * Sets all that is wanted for a subject (`own`, or a lease's name); an empty list withdraws it. Takes effect soon, in
   * one batch with what else is set in this turn. A slot that another owner has first stays with that owner: it is among
   * the failures of this one until the other gives it up. Two owners may want the same object in a slot.
   */
  set(subject: string, objects: readonly KernelObject[]): void {
    this.#desk.want(this.#holding, subject, objects);
  }

  /**
   * From now on what is in the owner's scopes, was made by it and is wanted by nobody is removed. Until the registry is
   * known, it stays: it may belong to a peer whose lease has not come yet.
   */
  allowRemoval(): void {
    this.#desk.allowRemoval(this.#holding);
  }

  /**
   * For thousands of changes: the kernel does not report neighbours and forwarding entries of this owner's devices
   * while `work` runs and until all it set is done. Everything is compared in the end. Other owners' devices are heard.
   */
  inBulk(work: () => Promise<void>): Promise<void> {
    return this.#desk.inBulk(this.#holding, work);
  }

  /** Resolves when all that can be done for this owner now has been done. {@link status} has what failed and is tried again. */
  settled(): Promise<void> {
    return this.#desk.settled(this.#holding);
  }

  /** Whether all that is wanted for the subject is in the kernel, as far as it was reported. */
  stateOf(subject: string): SubjectState {
    return this.#desk.stateOf(this.#holding, subject);
  }

  /** What a start would change, in order. Reads the kernel and changes nothing. */
  plan(): Promise<Operation[]> {
    return this.#desk.plan(this.#holding);
  }

  /**
   * Ends the ownership: what was made stays in the kernel and is no longer looked after. When it resolves, no change
   * of this owner is under way. The owner can't be used afterwards.
   */
  release(): Promise<void> {
    return this.#desk.release(this.#holding);
  }
}
