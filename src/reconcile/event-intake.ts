import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface EventIntakeComponents {
  readonly actuators: Actuators;
  readonly ledger: Ledger;
  readonly failures: Failures;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Writes the kernel's events into the ledger, and marks what is not right after them. */
export class EventIntake {
  readonly #components: EventIntakeComponents;
  readonly #ledger: Ledger;

  constructor(components: EventIntakeComponents) {
    this.#components = components;
    this.#ledger = components.ledger;
  }

  take(event: KernelEvent): void {
    for (const actuator of this.#components.actuators.staleAfter(event)) this.#ledger.reread(actuator);
    if (event.type === 'netconf') return;
    if (event.type === 'overrun') {
      this.#components.log.warning('The kernel dropped events (ENOBUFS): comparing everything');
      this.#ledger.check();
      return;
    }
    this.#takeObject(event.object, event.type === 'removed');
  }

  #takeObject(object: KernelObject, removed: boolean): void {
    const { slots, territory, kinds } = this.#ledger;
    const kind = kinds.of(object);
    let slot = slots.find(object);
    if (slot === undefined && !territory.isFollowed(object)) {
      if (!removed) this.#endPauses(object);
      return;
    }
    const found = slot?.found;
    if (!removed) slot = slots.put(object);
    else if (slot !== undefined && (found === undefined || kind.isTarget(found, object))) slots.clear(slot);
    else return;
    slot.reported = true;
    if (removed && kind.isDevice) this.#ledger.forgetDevice(object);
    const takesAlong = kind.takesAlong(found, removed ? undefined : object);
    if (takesAlong) this.#ledger.check();
    if (!removed && (takesAlong || !kind.isDevice)) this.#endPauses(object);
    if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'kernel');
  }

  /** A device that came back, or got an address, may be what failures waited for. */
  #endPauses(object: KernelObject): void {
    const { failures, clock } = this.#components;
    if (!failures.any || !ENDS_PAUSES.includes(object.kind)) return;
    const device = this.#ledger.kinds.of(object).deviceOf(object);
    if (device !== undefined && failures.hurry(device, clock.monotonic())) this.#ledger.retry();
  }
}

/** Kinds whose events may be what failures on their device waited for. */
const ENDS_PAUSES: readonly KernelObject['kind'][] = ['link', 'address'];
