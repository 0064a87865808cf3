import type { Logger } from '#src/lib/log.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import { planOf } from '#src/reconcile/plan.ts';
import type { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { Cause, Slot } from '#src/reconcile/slot.ts';
import type { Job } from '#src/reconcile/work-queue.ts';
import type { Kind } from '#src/state/kind.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface RepairComponents {
  readonly actuators: Actuators;
  readonly ledger: Ledger;
  readonly failures: Failures;
  readonly pacer: RepairPacer;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Takes slots from the queue and makes the kernel hold what is wanted in them. */
export class Repair {
  readonly #components: RepairComponents;
  readonly #ledger: Ledger;
  readonly #failures: Failures;
  /** Slots whose removal found nothing since the last full comparison that the interval asked for. */
  readonly #missed = new Set<string>();
  #count = 0;

  constructor(components: RepairComponents) {
    this.#components = components;
    this.#ledger = components.ledger;
    this.#failures = components.failures;
  }

  /** Repairs of what had been right, since the start. */
  get count(): number {
    return this.#count;
  }

  /** Repairs some of what may be repaired now; false when there was nothing to do. */
  async some(): Promise<boolean> {
    const { clock, actuators, pacer } = this.#components;
    const now = clock.monotonic();
    const jobs = this.#ledger.queue.take(REPAIRED_AT_ONCE, now, (slot, cause) =>
      this.#waitFor(slot, cause, now, pacer),
    );
    const notRight = jobs.filter(({ slot }) => {
      if (!this.#ledger.isRight(slot)) return true;
      this.#failures.forgive(slot.object);
      return false;
    });
    const wrong = this.#withDevice(notRight);
    if (wrong.length === 0) return jobs.length > 0;
    const slots = wrong.map(({ slot }) => slot);
    this.#logRepairs(wrong, now);
    for (const slot of slots) slot.reported = false;
    const results = await actuators.apply(planOf(slots, this.#ledger.kinds));
    const failed = new Set<Slot>();
    for (const result of await this.#explained(results)) this.#settle(result, now, failed);
    return true;
  }

  /** The interval asks for a full comparison: removals that find nothing may ask for another one again. */
  forgetMissed(): void {
    this.#missed.clear();
  }

  #waitFor(slot: Slot, cause: Cause, now: number, pacer: RepairPacer): number {
    const notBefore = this.#failures.notBefore(slot.object);
    if (notBefore !== undefined) return notBefore - now;
    return cause === 'kernel' ? pacer.delay(this.#keyOf(slot.object), now) : 0;
  }

  /** Leaves out what belongs on a device that is not there and can't be made now: making the device marks them again. */
  #withDevice(jobs: readonly Job[]): Job[] {
    const made = jobs.flatMap(({ slot: { wanted } }) => (wanted?.kind === 'link' ? wanted.name : []));
    const isThere = new Map<string, boolean>();
    return jobs.filter(({ slot: { wanted } }) => {
      const device = wanted && this.#deviceUnder(wanted);
      if (device === undefined) return true;
      const known = isThere.get(device);
      if (known !== undefined) return known;
      const link = this.#ledger.slots.find({ kind: 'link', name: device });
      const there = link?.wanted === undefined || link.found !== undefined || made.includes(device);
      isThere.set(device, there);
      return there;
    });
  }

  #settle({ operation, ...result }: OperationResult, now: number, failed: Set<Slot>): void {
    const { verb, object } = operation;
    const { slots, territory } = this.#ledger;
    if (!result.done && result.error.errno === 'ENODEV' && this.#losesItsDevice(object)) {
      this.#ledger.check();
      return;
    }
    if (!result.done && !(verb === 'remove' && ALREADY_GONE.includes(result.error.errno))) {
      this.#fail(operation, `${result.error.message} (${result.error.errno})`, now, failed);
      return;
    }
    this.#failures.forgive(object);
    let slot = slots.find(object);
    if (verb === 'remove') {
      // An object that an event has put into the slot since is newer.
      if (slot !== undefined && (object.kind === 'link' || slot.found === object)) slots.clear(slot);
      if (!result.done && MISSED.includes(result.error.errno)) this.#lookAgain(this.#keyOf(object));
      if (object.kind === 'link') this.#ledger.forgetDevice(object);
    } else if (object.kind === 'link') {
      const before = slot?.found;
      slot = slots.put(before?.kind === 'link' ? { ...before, ...object } : object);
      // What was on the device before it was made again went with the old one.
      if (verb === 'add' && this.#ledger.hasAnyOn(object)) this.#ledger.check();
    } else if (slot?.reported !== true) {
      // Where an event named the slot meanwhile, the event stands: at worst the same is put there again.
      slot = slots.put(object);
    }
    if (slot === undefined) return;
    // An owner that was released meanwhile no longer asks for it.
    if (slot.wanted === undefined && slot.found !== undefined && !territory.isFollowed(slot.found))
      slots.clear(slot);
    else if (!this.#ledger.isRight(slot)) this.#ledger.touch(slot, 'wanted');
  }

  /** Puts the owner's explanation in place of the kernel's words, where there is one. Only devices need it. */
  async #explained(results: readonly OperationResult[]): Promise<readonly OperationResult[]> {
    const refused = results.some(({ operation, done }) => !done && operation.object.kind === 'link');
    if (!refused) return results;
    const links = await this.#components.actuators.links();
    return results.map((result) => {
      if (result.done) return result;
      const { operation, error } = result;
      const slot = this.#ledger.slots.find(operation.object);
      const message = slot?.holding?.explain?.(operation.object, error, links);
      return message === undefined ? result : { ...result, error: { ...error, message } };
    });
  }

  #fail(operation: Operation, reason: string, now: number, failed: Set<Slot>): void {
    const slot = this.#ledger.slots.find(operation.object);
    const holding = slot && this.#ledger.holdingOf(slot);
    // Its owner was released while the operation was under way.
    if (slot === undefined || holding === undefined) return;
    // A device that could not be made can't be brought up either: the first refusal is the reason.
    if (failed.has(slot)) return;
    failed.add(slot);
    this.#failures.note(operation, reason, now, holding);
    this.#ledger.touch(slot, 'wanted', holding);
  }

  /**
   * An event from before our own last change may have come after it, and named what we had replaced already: then
   * something else is in the slot. This happens once for each slot between two comparisons at the interval, because an
   * object that the kernel shows and does not let go must not make comparisons follow each other.
   */
  #lookAgain(key: string): void {
    if (this.#missed.has(key)) return;
    this.#missed.add(key);
    this.#ledger.check();
  }

  /** The device went while something was put on it: the comparison makes it again, and then everything on it. */
  #losesItsDevice(object: KernelObject): boolean {
    const device = this.#deviceUnder(object);
    return (
      device !== undefined && this.#ledger.slots.find({ kind: 'link', name: device })?.wanted !== undefined
    );
  }

  /** The device that the object is on; `undefined` for a device itself. */
  #deviceUnder(object: KernelObject): string | undefined {
    const kind = this.#ledger.kinds.of(object);
    return kind.isDevice ? undefined : kind.deviceOf(object);
  }

  #keyOf(object: KernelObject): string {
    return this.#ledger.kinds.of(object).key(object);
  }

  #logRepairs(jobs: readonly Job[], now: number): void {
    const { pacer, log } = this.#components;
    const drifted = jobs.filter(
      ({ slot, cause }) => cause === 'kernel' && this.#failures.notBefore(slot.object) === undefined,
    );
    for (const [index, { slot }] of drifted.entries()) {
      const { wanted, found } = slot;
      const object = wanted ?? found ?? slot.object;
      const kind = this.#ledger.kinds.of(object);
      const key = kind.key(object);
      this.#count++;
      const holding = this.#ledger.holdingOf(slot);
      if (holding !== undefined) holding.repairs++;
      const fight = pacer.repaired(key, now);
      const how = describe(kind, wanted, found);
      if (fight) {
        log.warning(
          `Another program keeps changing "${kind.format(object)}" (${how}); repairing it once a second`,
        );
      } else if (index < LOGGED_REPAIRS) {
        log.info(`Repairing ${object.kind} "${kind.format(object)}" (${how})`, { key });
      }
    }
    if (drifted.length > LOGGED_REPAIRS) log.info(`Repairing ${drifted.length - LOGGED_REPAIRS} more`);
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

/** A removal that finds nothing has what it wanted. */
const ALREADY_GONE = ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'];
/** Of those, the ones that may mean that something else is in the slot: routes and forwarding entries are removed by their target as well. */
const MISSED = ['ENOENT', 'ESRCH'];
/** Slots planned in one go: as many as some sends take. */
const REPAIRED_AT_ONCE = 2_040;
const LOGGED_REPAIRS = 10;
