import type { Actuators } from '#src/reconcile/actuators.ts';
import { look } from '#src/reconcile/comparison.ts';
import { Holding } from '#src/reconcile/holding.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { SlotTable } from '#src/reconcile/slot-table.ts';
import { Territory } from '#src/reconcile/territory.ts';
import type { Operation } from '#src/state/operation.ts';

/**
 * The operations that would make the kernel hold what one owner wants, with removal allowed. It looks into a table of its
 * own, so that a reconciler that is at work is not disturbed.
 */
export async function planFor(
  holding: Holding,
  actuators: Actuators,
  { slots: current }: Ledger,
): Promise<Operation[]> {
  const [slots, territory] = [new SlotTable(actuators.kinds), new Territory(actuators.kinds)];
  const planned = new Holding({ name: holding.name, scopes: holding.scopes });
  planned.mayRemove = true;
  territory.add(planned);
  for (const [subject, wanted] of holding.slots) {
    const objects = wanted.flatMap((slot) => (slot.holding === holding ? (slot.wanted ?? []) : []));
    slots.want(planned, subject, objects, () => {});
  }
  await look(actuators, slots, territory);
  const isAnothers = (found: Parameters<SlotTable['find']>[0]) => {
    const slot = current.find(found);
    return slot?.wanted !== undefined && slot.holding !== holding;
  };
  return planOf(
    [...slots.endLook()].filter(
      ({ wanted, found }) =>
        wanted !== undefined ||
        (found !== undefined && territory.remover(found) !== undefined && !isAnothers(found)),
    ),
    actuators.kinds,
  );
}
