import type { Failures } from '#src/reconcile/failures.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';

/** Whether all that an owner wants for one subject is in the kernel. */
export type SubjectState =
  | { readonly isDone: true }
  /** The first slot that is not as wanted. Without a reason its turn has yet to come. */
  | { readonly isDone: false; readonly key: string; readonly reason?: string };

/** The state of one subject, at the cost of its slots. */
export function subjectState(
  holding: Holding,
  subject: string,
  ledger: Ledger,
  failures: Failures,
): SubjectState {
  for (const slot of holding.slots.get(subject) ?? []) {
    const isLost = slot.holding !== holding && isContended(slot, holding, ledger);
    if (!isLost && ledger.isRight(slot)) continue;
    const key = ledger.kinds.of(slot.object).key(slot.object);
    const reason = isLost ? `${slot.holding?.name ?? 'another owner'} has it first` : failures.reasonOf(key);
    return { isDone: false, key, ...(reason !== undefined && { reason }) };
  }
  return { isDone: true };
}

/** Whether another owner wants something else there. Owners that want the same share it. */
function isContended(slot: Slot, holding: Holding, { slots }: Ledger): boolean {
  for (const { slot: contended, rival } of slots.contended())
    if (contended === slot && rival.holding === holding) return true;
  return false;
}
