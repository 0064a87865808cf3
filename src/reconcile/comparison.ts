import type { Actuator } from '#src/reconcile/actuator.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { SlotTable } from '#src/reconcile/slot-table.ts';
import type { Territory } from '#src/reconcile/territory.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface ComparisonComponents {
  readonly actuators: Actuators;
  readonly ledger: Ledger;
  readonly pacer: RepairPacer;
  readonly clock: Clock;
}

/** Compares all of the kernel with all that is wanted. */
export class Comparison {
  readonly #components: ComparisonComponents;
  #count = 0;
  #tookMs = 0;

  constructor(components: ComparisonComponents) {
    this.#components = components;
  }

  /** Comparisons since the start. */
  get count(): number {
    return this.#count;
  }

  /** Milliseconds that the last one took. */
  get tookMs(): number {
    return this.#tookMs;
  }

  async run(): Promise<void> {
    const { ledger, pacer, clock, actuators } = this.#components;
    const began = clock.monotonic();
    ledger.checkBegins();
    this.#count++;
    const holdings = [...ledger.territory.holdings];
    await look(actuators, ledger.slots, ledger.territory, () => void ledger.takeStale());
    const budget = new TurnBudget(clock);
    for (const slot of ledger.slots.endLook()) {
      if (!ledger.isRight(slot) && slot.cause === undefined) {
        const holding = ledger.holdingOf(slot);
        ledger.touch(slot, holding?.checks === 0 ? 'wanted' : 'kernel', holding);
      }
      if (budget.isSpent) await budget.turn();
    }
    for (const holding of holdings) holding.checks++;
    const now = clock.monotonic();
    pacer.forgetOld(now);
    this.#tookMs = now - began;
  }
}

/** Reads the slots of an actuator whose objects can't be listed, and marks what is not right in them. */
export async function readAgain(actuator: Actuator, ledger: Ledger): Promise<void> {
  await actuator.read?.(wantedOf(ledger.slots, actuator), (object) => {
    const slot = ledger.slots.put(object);
    if (!ledger.isRight(slot) && slot.cause === undefined) ledger.touch(slot, 'kernel');
  });
}

function wantedOf(slots: SlotTable, { kinds }: Actuator): KernelObject[] {
  const objects: KernelObject[] = [];
  for (const { name } of kinds)
    slots.eachOf(name, ({ wanted }) => {
      if (wanted !== undefined) objects.push(wanted);
    });
  return objects;
}

/**
 * Reads what is in the kernel, scope by scope and in turns: at 50,000 peers there are 150,000 objects. `beforeReading` is
 * called before what can't be listed is read: requests to read it that came earlier are done with.
 */
export async function look(
  actuators: Actuators,
  slots: SlotTable,
  territory: Territory,
  beforeReading: () => void = () => {},
): Promise<void> {
  slots.beginLook();
  const take = (object: KernelObject) => {
    const slot = slots.find(object);
    if (slot !== undefined || territory.isFollowed(object)) slots.sight(object, slot);
  };
  for (const query of territory.queries()) await actuators.scan(query, take);
  beforeReading();
  for (const actuator of actuators.readers) await actuator.read?.(wantedOf(slots, actuator), take);
}
