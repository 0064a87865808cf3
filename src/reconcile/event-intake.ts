import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';
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
  /** Devices as the kernel last reported them. */
  readonly #reported = new Map<string, KernelObject>();

  constructor(components: EventIntakeComponents) {
    this.#components = components;
    this.#ledger = components.ledger;
  }

  take(event: KernelEvent): void {
    for (const [actuator, stale] of this.#components.actuators.staleAfter(event))
      this.#ledger.reread(actuator, stale);
    if (event.type === 'netconf' || event.type === 'policy' || event.type === 'qdisc') return;
    if (event.type === 'overrun' || event.type === 'flushed') {
      if (event.type === 'overrun')
        this.#components.log.warning('The kernel dropped events (ENOBUFS): comparing everything');
      // A program that is there again takes what it refused, or could not take, before.
      else this.#components.failures.endPauses();
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
      if (!removed) this.#endPauses(undefined, object);
      return;
    }
    const found = slot?.found;
    const known = kind.isDevice ? this.#lastReport(object, found, removed) : found;
    if (!removed) slot = slots.put(object);
    else if (slot !== undefined && (found === undefined || kind.isTarget(found, object))) slots.clear(slot);
    else return;
    slot.reported = true;
    if (kind.takesAlong(known, removed ? undefined : object) && this.#isMissed(slot)) this.#ledger.check();
    if (removed && kind.isDevice) this.#ledger.forgetDevice(object);
    if (!removed) {
      if (found === undefined && kind.isDevice) this.#ledger.deviceCame(object);
      this.#endPauses(known, object);
    }
    if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'kernel');
  }

  /** Whether anything is wanted of what the kernel may have taken along. */
  #isMissed({ object, wanted, found }: Slot): boolean {
    if (!this.#ledger.kinds.of(object).isDevice || this.#ledger.hasAnyWantedOn(object)) return true;
    return found === undefined && wanted !== undefined;
  }

  /**
   * A device as it was before this event. What we have done since may be in the ledger already, and then it is no change that
   * a report from before says otherwise.
   */
  #lastReport(
    object: KernelObject,
    found: KernelObject | undefined,
    removed: boolean,
  ): KernelObject | undefined {
    const { kinds } = this.#ledger;
    const key = kinds.of(object).deviceOf(object) ?? '';
    const known = this.#reported.has(key) ? this.#reported.get(key) : found;
    if (!removed) this.#reported.set(key, object);
    else this.#reported.delete(key);
    return known;
  }

  /** A device that came back, or got an address, may be what failures waited for. */
  #endPauses(found: KernelObject | undefined, now: KernelObject): void {
    const { failures, clock } = this.#components;
    const kind = this.#ledger.kinds.of(now);
    if (!failures.any || !kind.opensWay(found, now)) return;
    const device = kind.deviceOf(now);
    if (device !== undefined && failures.hurry(device, clock.monotonic())) this.#ledger.retry();
  }
}
