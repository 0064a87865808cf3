import type { Contention } from '#src/reconcile/contention.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { KernelObject } from '#src/state/object.ts';

/** One slot, as readers see it. */
export interface SlotView {
  /** The slot's key, as the failures of a status have it. */
  readonly key: string;
  /** The owner's name; `undefined` when no owner wants anything in the slot. */
  readonly owner: string | undefined;
  /** What the owner wants it for: a lease's name for a peer. */
  readonly subject: string | undefined;
  readonly wanted: KernelObject | undefined;
  readonly found: KernelObject | undefined;
  /** The kernel's last word, or which owner has the slot; `undefined` when nothing failed. */
  readonly failure: string | undefined;
}

/**
 * Every slot in which anything is wanted or was found, then what owners want in slots that others have. Which slots there are
 * is as of this call. What is in each is as of its turn, so that a reader may go through 150,000 of them in many turns.
 */
export function viewSlots(ledger: Ledger, failures: Failures, contention: Contention): Generator<SlotView> {
  const all: Slot[] = [];
  ledger.slots.each((slot) => all.push(slot));
  return viewEach(all, ledger, failures, contention);
}

function* viewEach(
  all: readonly Slot[],
  { kinds }: Ledger,
  failures: Failures,
  contention: Contention,
): Generator<SlotView> {
  for (const { object, holding, subject, wanted, found } of all) {
    // It was emptied meanwhile.
    if (wanted === undefined && found === undefined) continue;
    const key = kinds.of(object).key(object);
    yield { key, owner: holding?.name, subject, wanted, found, failure: failures.reasonOf(key) };
  }
  for (const { slot, rival, key, reason } of contention.lost()) {
    const { holding, subject, object } = rival;
    yield { key, owner: holding.name, subject, wanted: object, found: slot.found, failure: reason };
  }
}
