import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Writes the kernel's events into the ledger, and marks what is not right after them. */
export class EventIntake {
  readonly #ledger: Ledger;
  readonly #failures: Failures;
  readonly #clock: Clock;
  readonly #log: Logger;

  constructor(components: {
    readonly ledger: Ledger;
    readonly failures: Failures;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#ledger = components.ledger;
    this.#failures = components.failures;
    this.#clock = components.clock;
    this.#log = components.log;
  }

  take(event: KernelEvent): void {
    if (event.type === 'netconf') return;
    if (event.type === 'overrun') {
      this.#log.warning('The kernel dropped events (ENOBUFS): comparing everything');
      this.#ledger.check();
      return;
    }
    const { object } = event;
    if (event.type === 'changed') this.#endPauses(object);
    const { slots } = this.#ledger;
    let slot = slots.find(object);
    if (slot === undefined && !this.#isFollowed(object)) return;
    const before = slot?.found;
    if (event.type === 'changed') slot = slots.put(object);
    else if (slot !== undefined && (before === undefined || sameTarget(before, object))) slots.clear(slot);
    else return;
    slot.reported = true;
    if (object.kind === 'link') this.#onLinkChange(object, before, event.type === 'removed');
    // With a device's last address the kernel takes its routes and neighbours, and reports neither.
    if (object.kind === 'address' && event.type === 'removed') this.#ledger.check();
    if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'kernel');
  }

  /** A device that came back, or got an address, may be what failures waited for. */
  #endPauses(object: KernelObject): void {
    if (object.kind !== 'link' && object.kind !== 'address') return;
    const device = object.kind === 'link' ? object.name : object.device;
    if (this.#failures.hurry(device, this.#clock.monotonic())) this.#ledger.retry();
  }

  /** The kernel takes routes and neighbours away with a device that goes down, and reports neither. */
  #onLinkChange(link: Link, before: KernelObject | undefined, removed: boolean): void {
    const was = before?.kind === 'link' ? before : undefined;
    if (removed) this.#forgetDevice(link.name);
    if (
      removed ||
      was === undefined ||
      was.up !== link.up ||
      was.index !== link.index ||
      was.running !== link.running
    ) {
      this.#ledger.check();
    }
  }

  #forgetDevice(device: string): void {
    forgetDevice(this.#ledger, device);
  }

  /** Whether it is kept, though nothing is wanted in its slot. */
  #isFollowed(object: KernelObject): boolean {
    return this.#ledger.territory.isFollowed(object);
  }
}

/** A device went, and everything on it. */
export function forgetDevice({ slots }: Ledger, device: string): void {
  slots.each((slot) => {
    const { found } = slot;
    if (found !== undefined && found.kind !== 'link' && found.device === device) slots.clear(slot);
  });
}

/**
 * Whether the object that a removal event names is the one in the slot. After a route or forwarding entry was replaced,
 * the kernel sometimes reports the removal of the old one, and later than the new one.
 */
function sameTarget(found: KernelObject, removed: KernelObject): boolean {
  if (found.kind === 'fdb' && removed.kind === 'fdb') return found.destination === removed.destination;
  if (found.kind === 'route' && removed.kind === 'route') {
    return found.via === removed.via && found.device === removed.device && found.type === removed.type;
  }
  return true;
}
