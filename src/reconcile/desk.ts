import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Contention } from '#src/reconcile/contention.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import { countKinds, type KindCount } from '#src/reconcile/kind-counts.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import { Overdue } from '#src/reconcile/overdue.ts';
import type { OwnerDesk, OwnerStatus } from '#src/reconcile/owner.ts';
import { planFor } from '#src/reconcile/plan-for.ts';
import { type SubjectState, subjectState } from '#src/reconcile/subject-state.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface DeskComponents {
  readonly actuators: Actuators;
  readonly ledger: Ledger;
  readonly failures: Failures;
  readonly contention: Contention;
  readonly clock: Clock;
  /** Whether a round of work is under way. */
  readonly isWorking: () => boolean;
  /** Resolves when that round has ended. */
  readonly untilRoundEnds: () => Promise<void>;
}

/** What owners ask of the reconciler, carried out on what it knows. */
export class Desk implements OwnerDesk {
  readonly #components: DeskComponents;
  readonly #ledger: Ledger;
  readonly #overdue: Overdue;

  constructor(components: DeskComponents) {
    this.#components = components;
    this.#ledger = components.ledger;
    this.#overdue = new Overdue(components);
  }

  want(holding: Holding, subject: string, objects: readonly KernelObject[]): void {
    if (holding.isReleased) return;
    this.#ledger.territory.mayHaveChanged();
    const { actuators, contention, failures } = this.#components;
    this.#ledger.slots.want(holding, subject, objects, (slot, isWithdrawn) => {
      if (!isWithdrawn) return this.#ledger.touch(slot, 'wanted', slot.holding ?? holding);
      // What failed for the former owner says nothing of what the next one wants.
      failures.forgive(slot.object);
      this.#ledger.pass(slot, holding);
    });
    for (const actuator of actuators.readersOf(objects)) this.#ledger.reread(actuator, objects);
    contention.log(holding);
  }

  allowRemoval(holding: Holding): void {
    if (holding.mayRemove) return;
    holding.mayRemove = true;
    // What there is was read when the owner came, and followed since.
    this.#ledger.slots.each((slot) => {
      if (slot.found !== undefined && !this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'kernel');
    });
  }

  settled(holding: Holding): Promise<void> {
    if (!this.#components.isWorking()) return Promise.resolve();
    return new Promise((resolve) => holding.waiters.push(resolve));
  }

  statusOf(holding: Holding): OwnerStatus {
    const overdue = this.#overdue.look(holding);
    return {
      wanted: holding.wanted,
      failing: this.failing(holding),
      ...(overdue.length > 0 && { overdue }),
      repairs: holding.repairs,
      checks: holding.checks,
    };
  }

  /** Of one owner, or of all of them. */
  failing(holding?: Holding): OwnerStatus['failing'] {
    const { contention, failures } = this.#components;
    const lost = contention.lost(holding).map(({ key, reason }) => ({ key, reason }));
    return [...failures.list(holding), ...lost];
  }

  kindsOf(holding: Holding): ReadonlyMap<string, KindCount> {
    return countKinds(holding, this.#components);
  }

  stateOf(holding: Holding, subject: string): SubjectState {
    return subjectState(holding, subject, this.#ledger, this.#components.failures);
  }

  plan(holding: Holding): Promise<Operation[]> {
    return planFor(holding, this.#components.actuators, this.#ledger);
  }

  async inBulk(holding: Holding, work: () => Promise<void>): Promise<void> {
    const devices = this.#ledger.territory.devicesOf(holding, ['neighbour', 'fdb']);
    const unmuffle = await this.#components.actuators.muffle(devices);
    try {
      await work();
      await this.settled(holding);
    } finally {
      unmuffle();
      this.#ledger.lookAt(holding);
    }
  }

  async release(holding: Holding): Promise<void> {
    const { failures, isWorking, untilRoundEnds } = this.#components;
    const { territory, slots, queue } = this.#ledger;
    holding.isReleased = true;
    territory.remove(holding);
    // What this owner made stays. Whatever else is in these slots may concern other owners now.
    const others = [...queue.drop(holding), ...[...holding.slots.values()].flat()].filter(
      (slot) => slot.holding !== holding || !this.#ledger.isRight(slot),
    );
    failures.drop(holding);
    this.#overdue.drop(holding);
    slots.release(holding, (slot) => {
      if (slot.wanted !== undefined) this.#ledger.touch(slot, 'wanted');
      else if (slot.found !== undefined && !territory.isFollowed(slot.found)) slots.clear(slot);
    });
    for (const slot of others) if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'wanted');
    if (isWorking()) await untilRoundEnds();
    for (const resolve of holding.waiters.splice(0)) resolve();
  }
}
