import type { Contention } from '#src/reconcile/contention.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';

/** An owner's objects of one kind, in numbers. */
export interface KindCount {
  readonly wanted: number;
  /** Of those: found as wanted. */
  readonly found: number;
  /** What the kernel refused, or another owner has. */
  readonly failing: number;
  /** Repairs of what had been right, since the start. */
  readonly repairs: number;
}

interface KindCountComponents {
  readonly ledger: Ledger;
  readonly failures: Failures;
  readonly contention: Contention;
}

const NONE: KindCount = { wanted: 0, found: 0, failing: 0, repairs: 0 };

/**
 * By the kind's name, for kinds that the owner has or had. Only what waits is looked at: 50,000 peers have 150,000 slots, and
 * those that are right need no look.
 */
export function countKinds(
  holding: Holding,
  { ledger, failures, contention }: KindCountComponents,
): ReadonlyMap<string, KindCount> {
  const counts = new Map<string, KindCount>();
  const add = (kind: string, what: keyof KindCount, by = 1): void => {
    const before = counts.get(kind) ?? NONE;
    counts.set(kind, { ...before, [what]: before[what] + by });
  };
  for (const [kind, number] of holding.wantedByKind) {
    add(kind, 'wanted', number);
    add(kind, 'found', number);
  }
  const wrong = new Set<Slot>();
  for (const slot of ledger.waitingOf(holding))
    if (slot.holding === holding && slot.wanted !== undefined && !ledger.isRight(slot)) wrong.add(slot);
  for (const { object } of wrong) add(object.kind, 'found', -1);
  for (const { kind } of failures.objectsOf(holding)) add(kind, 'failing');
  for (const { rival } of contention.lost(holding)) add(rival.object.kind, 'failing');
  for (const [kind, number] of holding.repairsByKind) add(kind, 'repairs', number);
  return counts;
}
