import type { Logger } from '#src/lib/log.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { Kind } from '#src/state/kind.ts';
import type { Kinds } from '#src/state/kinds.ts';
import type { KernelObject } from '#src/state/object.ts';

export interface RepairNotesComponents {
  readonly kinds: Kinds<KernelObject>;
  readonly pacer: RepairPacer;
  readonly log: Logger;
  /** Whose a slot is. */
  readonly holdingOf: (slot: Slot) => Holding | undefined;
}

/** So many repairs of one round have a log line and an event each. */
const NAMED_REPAIRS = 10;

/** Counts, paces, logs and notes repairs of what had been right. */
export class RepairNotes {
  readonly #components: RepairNotesComponents;
  #count = 0;

  constructor(components: RepairNotesComponents) {
    this.#components = components;
  }

  /** Repairs since the start. */
  get count(): number {
    return this.#count;
  }

  /** These slots are repaired now. */
  take(drifted: readonly Slot[], now: number): void {
    const unnamed = new Map<Holding | undefined, number>();
    for (const [index, slot] of drifted.entries()) {
      const holding = this.#components.holdingOf(slot);
      this.#count++;
      holding?.noteRepair(slot.object.kind);
      if (!this.#take(slot, holding, now, index < NAMED_REPAIRS))
        unnamed.set(holding, (unnamed.get(holding) ?? 0) + 1);
    }
    if (drifted.length > NAMED_REPAIRS)
      this.#components.log.info(`Repairing ${drifted.length - NAMED_REPAIRS} more`);
    for (const [holding, count] of unnamed) {
      const text = `${count} more objects had changed; repaired`;
      holding?.events.note({ type: 'repair', severity: 'warning', subject: 'kernel', text });
    }
  }

  /** True when the repair has an event of its own. */
  #take(slot: Slot, holding: Holding | undefined, now: number, isNamed: boolean): boolean {
    const { kinds, pacer, log } = this.#components;
    const { wanted, found } = slot;
    const object = wanted ?? found ?? slot.object;
    const kind = kinds.of(object);
    const key = kind.key(object);
    const fight = pacer.repaired(key, now);
    if (!fight && !isNamed) return false;
    const how = describe(kind, wanted, found);
    const what = `"${kind.format(object)}" (${how})`;
    if (fight) log.warning(`Another program keeps changing ${what}; repairing it once a second`);
    else log.info(`Repairing ${object.kind} ${what}`, { key });
    const text = fight
      ? `Another program keeps changing ${what}; it is repaired once a second`
      : `Repaired ${object.kind} ${what}`;
    holding?.events.note({ type: 'repair', severity: 'warning', subject: key, text });
    return true;
  }
}

function describe(
  kind: Kind<KernelObject>,
  wanted: KernelObject | undefined,
  found: KernelObject | undefined,
): string {
  if (wanted === undefined) return 'stale';
  return found === undefined ? 'was gone' : kind.differences(wanted, found).join(', ');
}
