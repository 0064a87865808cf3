import type { ViewSlot } from '#src/observe/api.ts';
import type { SlotView } from '#src/reconcile/slot-view.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';

/**
 * What is wanted and what was found, for readers. With an owner: its slots, and those that are nobody's. What is nobody's is
 * stale, or another program's in a place that is looked after.
 */
export function* viewOf(slots: Iterable<SlotView>, owner?: string): Generator<ViewSlot> {
  for (const slot of slots) {
    if (owner === undefined || slot.owner === undefined || slot.owner === owner) yield slotOf(slot);
  }
}

function slotOf({ key, owner, subject, wanted, found, failure }: SlotView): ViewSlot {
  return {
    key,
    kind: (wanted ?? found)?.kind ?? '',
    ...(owner !== undefined && { owner }),
    ...(subject !== undefined && { subject }),
    ...(wanted !== undefined && { wanted: commandThatMakes(wanted) }),
    ...(found !== undefined && { found: KINDS.of(found).format(found) }),
    ...(failure !== undefined && { failure }),
  };
}

/** What can't be removed by itself comes with something else, and is only ever set. */
function commandThatMakes(object: KernelObject): string {
  const kind = KINDS.of(object);
  return kind.command(kind.isRemovable ? 'add' : 'set', object);
}
