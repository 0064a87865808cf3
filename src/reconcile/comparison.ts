import type { Actuator } from '#src/reconcile/actuator.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { DeviceLook } from '#src/reconcile/device-looks.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Ledger, StaleParts } from '#src/reconcile/ledger.ts';
import type { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { SlotTable } from '#src/reconcile/slot-table.ts';
import type { Territory } from '#src/reconcile/territory.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Clock } from '#src/sys/clock.ts';
import { inTurns } from '#src/sys/in-turns.ts';
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
      this.#judge(slot);
      if (budget.isSpent) await budget.turn();
    }
    for (const holding of holdings) holding.checks++;
    const now = clock.monotonic();
    pacer.forgetOld(now);
    this.#tookMs = now - began;
  }

  /** Compares what is in the scopes of some owners, and what they want: 1,000 networks that come do not cost as many full comparisons. */
  async runFor(holdings: readonly Holding[]): Promise<void> {
    const { ledger, actuators, clock } = this.#components;
    const { slots, territory } = ledger;
    const queries = territory.queriesOf(holdings);
    // What another owner has in a slot that this one wanted, or wants as well, is not in the scopes that are read.
    const own = new Set(
      holdings.flatMap((holding) =>
        [...holding.slots.values()].flat().filter((slot) => slot.holding === holding),
      ),
    );
    slots.beginLook();
    const take = takerOf(slots, territory);
    for (const query of queries) await actuators.scan(query, take);
    await readWanted(actuators, own, take);
    for (const query of queries) await inTurns(slots.foundBy(query), clock, (slot) => void own.add(slot));
    const budget = new TurnBudget(clock);
    for (const slot of slots.endLookAt(own)) {
      this.#judge(slot);
      if (budget.isSpent) await budget.turn();
    }
    for (const holding of holdings) holding.checks++;
  }

  /**
   * Compares what is on some devices. Of each the device itself is asked for first: the kernel reports that it goes down before it
   * takes its routes, and answers that question when all is done.
   */
  async runOn(looks: readonly (readonly [string, DeviceLook])[]): Promise<void> {
    const { ledger, actuators, clock } = this.#components;
    const { slots, territory } = ledger;
    const meant = new Set<Slot>();
    slots.beginLook();
    const take = takerOf(slots, territory);
    for (const [device, look] of looks) {
      const there = new Set(look.slots);
      await inTurns(slots.foundOn(device), clock, (slot) => {
        if (look.kinds?.has(slot.object.kind) ?? true) there.add(slot);
      });
      const kinds = new Set(Array.from(there, ({ object }) => object.kind));
      const link = slots.find({ kind: 'link', name: device });
      if (link !== undefined) there.add(link);
      for (const kind of ['link', ...kinds] as const) await actuators.scan({ kinds: [kind], device }, take);
      await readWanted(actuators, there, take);
      for (const slot of there) meant.add(slot);
    }
    const budget = new TurnBudget(clock);
    for (const slot of slots.endLookAt(meant)) {
      this.#judge(slot);
      if (budget.isSpent) await budget.turn();
    }
  }

  #judge(slot: Slot): void {
    const { ledger } = this.#components;
    if (ledger.isRight(slot) || slot.cause !== undefined) return;
    const holding = ledger.holdingOf(slot);
    ledger.touch(slot, holding?.checks === 0 ? 'wanted' : 'kernel', holding);
  }
}

/** Reads what is in those of the slots whose objects can't be listed. */
async function readWanted(
  { readers }: Actuators,
  slots: ReadonlySet<Slot>,
  take: (object: KernelObject) => void,
): Promise<void> {
  for (const actuator of readers) {
    const wanted = Array.from(slots, (slot) => slot.wanted).filter((object) => object !== undefined);
    const carried = wanted.filter((object) => actuator.kinds.some(({ name }) => name === object.kind));
    if (carried.length > 0) await actuator.read?.(carried, take);
  }
}

/** Reads slots of an actuator whose objects can't be listed, and marks what is not right in them. */
export async function readAgain(
  actuator: Actuator,
  { isAll, devices, objects }: StaleParts,
  ledger: Ledger,
): Promise<void> {
  const { slots, kinds } = ledger;
  const isMeant = (object: KernelObject): boolean =>
    isAll || devices.has(kinds.of(object).deviceOf(object) ?? '');
  const wanted = new Set(isAll || devices.size > 0 ? wantedOf(slots, actuator).filter(isMeant) : []);
  for (const object of objects) {
    const now = slots.find(object)?.wanted;
    if (now !== undefined && actuator.kinds.some(({ name }) => name === now.kind)) wanted.add(now);
  }
  await actuator.read?.([...wanted], (object) => {
    const slot = slots.put(object);
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
  const take = takerOf(slots, territory);
  for (const query of territory.queries()) await actuators.scan(query, take);
  beforeReading();
  for (const actuator of actuators.readers) await actuator.read?.(wantedOf(slots, actuator), take);
}

const takerOf = (slots: SlotTable, territory: Territory) => (object: KernelObject) => {
  const slot = slots.find(object);
  if (slot !== undefined || territory.isFollowed(object)) slots.sight(object, slot);
};
