import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { TakenAlong } from '#src/state/kind.ts';
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
    const taken = kind.takesAlong(known, removed ? undefined : object, slot.wanted);
    if (taken !== undefined) this.#lookAfter(taken, slot);
    if (removed && kind.isDevice) this.#forget(object);
    if (!removed) {
      if (found === undefined && kind.isDevice) this.#ledger.deviceCame(object);
      this.#endPauses(known, object);
    }
    if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'kernel');
  }

  /**
   * Asks for a look at what the kernel may have taken along, wanted or not: what is believed to be there still would count as done
   * when it is wanted later.
   */
  #lookAfter(taken: TakenAlong, { object, wanted, found }: Slot): void {
    const device = this.#ledger.kinds.of(object).deviceOf(object);
    if (device === undefined) return;
    const isGone = found === undefined && wanted !== undefined;
    const kinds = taken === 'any' ? 'all' : taken;
    if (taken === 'any' && (isGone || this.#ledger.hasAnyWantedOn(device))) this.#ledger.check();
    else if (this.#ledger.hasAnyOn(device, kinds)) this.#ledger.lookOn(device, kinds);
  }

  /** A report that comes late is of a device that is there again, with what is on it. */
  #forget(device: KernelObject): void {
    const missed = this.#ledger.forgetDevice(device);
    const name = this.#ledger.kinds.of(device).deviceOf(device);
    if (missed.length > 0 && name !== undefined && !this.#ledger.checkWanted)
      this.#ledger.lookOn(name, 'all', missed);
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
