import type { DumpQuery } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuators } from '#src/reconcile/actuators.ts';
import type { Failures } from '#src/reconcile/failures.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { RepairNotes } from '#src/reconcile/repair-notes.ts';
import type { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { Cause, Slot } from '#src/reconcile/slot.ts';
import type { Job } from '#src/reconcile/work-queue.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError, Operation, OperationResult } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';
import { inTurns } from '#src/sys/in-turns.ts';

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
  /** Slots whose device went while something was put on it, until that succeeds or the interval asks for a comparison. */
  readonly #deviceless = new Set<string>();
  readonly #notes: RepairNotes;

  constructor(components: RepairComponents) {
    this.#components = components;
    this.#ledger = components.ledger;
    this.#failures = components.failures;
    this.#notes = new RepairNotes({
      ...components,
      kinds: this.#ledger.kinds,
      holdingOf: (slot) => this.#ledger.holdingOf(slot),
    });
  }

  /** Repairs of what had been right, since the start. */
  get count(): number {
    return this.#notes.count;
  }

  /** Repairs some of what may be repaired now; false when there was nothing to do. */
  async some(): Promise<boolean> {
    const { clock, actuators, pacer } = this.#components;
    const now = clock.monotonic();
    const jobs = this.#ledger.queue.take(REPAIRED_AT_ONCE, now, (slot, cause) =>
      this.#waitFor(slot, cause, now, pacer),
    );
    const wrong = this.#withDevice(await this.#stillNotRight(this.#notRight(jobs)));
    if (wrong.length === 0) return jobs.length > 0;
    const slots = wrong.map(({ slot }) => slot);
    this.#noteRepairs(wrong, now);
    for (const slot of slots) slot.reported = false;
    this.#ledger.underWay = slots;
    const results = await this.#explained(await actuators.apply(planOf(slots, this.#ledger.kinds)));
    const refused = this.#refusedSlots(results);
    const noted = new Set<Slot>();
    // An event that comes between two of them comes as if the kernel still worked on the rest.
    await inTurns(results, clock, (result) => this.#settle(result, now, refused, noted));
    this.#ledger.underWay = [];
    return true;
  }

  /** The interval asks for a full comparison: what went missing may ask for another one again. */
  forgetMissed(): void {
    this.#missed.clear();
    this.#deviceless.clear();
  }

  #waitFor(slot: Slot, cause: Cause, now: number, pacer: RepairPacer): number {
    const notBefore = this.#failures.notBefore(slot.object);
    if (notBefore !== undefined) return notBefore - now;
    return cause === 'kernel' ? pacer.delay(this.#keyOf(slot.object), now) : 0;
  }

  #notRight(jobs: readonly Job[]): Job[] {
    return jobs.filter(({ slot }) => {
      if (!this.#ledger.isRight(slot)) return true;
      this.#failures.forgive(slot.object);
      return false;
    });
  }

  /** What seems to have drifted and is reported step by step is looked at once more: a report may be from before our own last step. */
  async #stillNotRight(jobs: Job[]): Promise<Job[]> {
    const { actuators } = this.#components;
    const { slots } = this.#ledger;
    const doubtful = jobs.filter(({ slot, cause }) => cause === 'kernel' && isInSteps(slot.object));
    if (doubtful.length === 0) return jobs;
    for (const { slot } of doubtful) slot.reported = false;
    const seen = new Map<Slot | undefined, KernelObject>();
    for (const query of this.#queriesFor(doubtful))
      await actuators.scan(query, (object) => seen.set(slots.find(object), object));
    for (const { slot } of doubtful) {
      if (slot.reported) continue;
      const object = seen.get(slot);
      if (object !== undefined) slots.put(object);
      else if (slot.found !== undefined) slots.clear(slot);
    }
    return this.#notRight(jobs);
  }

  /** One device is asked for by itself: a list of all takes the longer the more there are. */
  #queriesFor(jobs: readonly Job[]): DumpQuery[] {
    const asked = new Map<string, Set<KernelObject['kind']>>();
    const ofAll: DumpQuery[] = [{ kinds: [...new Set(jobs.map(({ slot }) => slot.object.kind))] }];
    for (const { slot } of jobs) {
      const device = this.#ledger.kinds.of(slot.object).deviceOf(slot.object);
      if (device === undefined) return ofAll;
      asked.set(device, (asked.get(device) ?? new Set()).add(slot.object.kind));
    }
    if (asked.size > ASKED_ONE_BY_ONE) return ofAll;
    return Array.from(asked, ([device, kinds]) => ({ kinds: [...kinds], device }));
  }

  /** Leaves out what belongs on a device that is not there and can't be made now: it is taken up when the device is there. */
  #withDevice(jobs: readonly Job[]): Job[] {
    const made = new Set(
      jobs.flatMap(({ slot: { wanted } }) =>
        wanted?.kind === 'link' && !wanted.isMadeElsewhere ? wanted.name : [],
      ),
    );
    const isThere = new Map<string, boolean>();
    return jobs.filter(({ slot, cause }) => {
      const device = slot.wanted && this.#deviceUnder(slot.wanted);
      if (device === undefined) return true;
      let there = isThere.get(device);
      if (there === undefined) {
        const link = this.#ledger.slots.find({ kind: 'link', name: device });
        there = link?.wanted === undefined || link.found !== undefined || made.has(device);
        isThere.set(device, there);
      }
      if (!there) this.#ledger.strand(device, slot, cause);
      return there;
    });
  }

  /** Slots of which at least one operation was refused: what else was done there does not end the failure. */
  #refusedSlots(results: readonly OperationResult[]): Set<Slot> {
    const refused = new Set<Slot>();
    for (const result of results) {
      if (refusalOf(result) === undefined) continue;
      const slot = this.#ledger.slots.find(result.operation.object);
      if (slot !== undefined) refused.add(slot);
    }
    return refused;
  }

  #settle(result: OperationResult, now: number, refused: ReadonlySet<Slot>, noted: Set<Slot>): void {
    const { verb, object } = result.operation;
    const { slots, territory } = this.#ledger;
    const refusal = refusalOf(result);
    if (refusal !== undefined) {
      const { errno, message } = refusal;
      if (errno !== 'ENODEV' || !this.#losesItsDevice(object))
        this.#fail(result.operation, `${message} (${errno})`, now, noted);
      return;
    }
    let slot = slots.find(object);
    if (slot === undefined || !refused.has(slot)) {
      this.#failures.forgive(object);
      if (this.#deviceless.size > 0) this.#deviceless.delete(this.#keyOf(object));
    }
    if (verb === 'remove') {
      // An object that an event has put into the slot since is newer.
      if (slot !== undefined && (object.kind === 'link' || slot.found === object)) slots.clear(slot);
      if (!result.done && MISSED.includes(result.error.errno)) this.#lookAgain(this.#keyOf(object));
      if (object.kind === 'link') this.#ledger.forgetDevice(object);
    } else if (object.kind === 'link') {
      // Somebody has removed it since, or a report of an earlier removal came late: the event has put the slot into the queue.
      if (slot?.reported === true && slot.found === undefined) return;
      const before = slot?.found;
      slot = slots.put(before?.kind === 'link' ? { ...before, ...object } : object);
      if (before === undefined) this.#ledger.deviceCame(object);
      // What was put on the device before it was made again went with the old one.
      if (verb === 'add' && this.#ledger.hasUnreportedOn(object.name)) this.#ledger.lookOn(object.name);
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

  /** Puts the owner's explanation in place of the kernel's words, where there is one. Only devices and what they are set to need it. */
  async #explained(results: readonly OperationResult[]): Promise<readonly OperationResult[]> {
    const refused = results.some(
      ({ operation: { object }, done }) => !done && EXPLAINED.includes(object.kind),
    );
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

  #fail(operation: Operation, reason: string, now: number, noted: Set<Slot>): void {
    const slot = this.#ledger.slots.find(operation.object);
    const holding = slot && this.#ledger.holdingOf(slot);
    // Its owner was released while the operation was under way.
    if (slot === undefined || holding === undefined) return;
    // A device that could not be made can't be brought up either: the first refusal is the reason.
    if (noted.has(slot)) return;
    noted.add(slot);
    if (this.#isMoot(operation, slot)) {
      this.#ledger.touch(slot, 'wanted', holding);
      return;
    }
    this.#failures.note(operation, reason, now, holding);
    this.#ledger.touch(slot, 'wanted', holding);
  }

  /** Whether something else is wanted in the slot by now: the refusal of one object says nothing of another. */
  #isMoot({ verb, object }: Operation, { wanted }: Slot): boolean {
    if (wanted === undefined || this.#ledger.kinds.of(object).operations !== undefined) return false;
    return verb === 'remove' || object !== wanted;
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

  /**
   * The device went while something was put on it, or one that it needs: they are looked at and made again, and then everything on
   * them. Where the same slot finds no device again, the look was of no use, and the refusal is a failure like any other.
   */
  #losesItsDevice(object: KernelObject): boolean {
    const device = this.#deviceUnder(object);
    const link = device === undefined ? undefined : this.#ledger.slots.find({ kind: 'link', name: device });
    if (link?.wanted === undefined) return false;
    const key = this.#keyOf(object);
    if (this.#deviceless.has(key)) return false;
    this.#deviceless.add(key);
    const slot = this.#ledger.slots.find(object);
    const holding = slot && this.#ledger.holdingOf(slot);
    // It was not right before, so that the next attempt is no repair of what had been right.
    if (slot !== undefined && holding !== undefined) this.#ledger.touch(slot, 'wanted', holding);
    for (const needed of this.#ledger.kinds.of(object).devicesNeeded(object)) this.#ledger.lookOn(needed);
    return true;
  }

  /** The device that the object is on; `undefined` for a device itself. */
  #deviceUnder(object: KernelObject): string | undefined {
    const kind = this.#ledger.kinds.of(object);
    return kind.isDevice ? undefined : kind.deviceOf(object);
  }

  #keyOf(object: KernelObject): string {
    return this.#ledger.kinds.of(object).key(object);
  }

  /** What failed before is no repair of what had been right. */
  #noteRepairs(jobs: readonly Job[], now: number): void {
    const drifted = jobs.filter(
      ({ slot, cause }) => cause === 'kernel' && this.#failures.notBefore(slot.object) === undefined,
    );
    if (drifted.length === 0) return;
    this.#notes.take(
      drifted.map(({ slot }) => slot),
      now,
    );
  }
}

/** Why the kernel did not do what was asked; `undefined` when it did, or had nothing to do. */
function refusalOf(result: OperationResult): KernelError | undefined {
  if (result.done) return undefined;
  const isGone = result.operation.verb === 'remove' && ALREADY_GONE.includes(result.error.errno);
  return isGone ? undefined : result.error;
}

/** A removal that finds nothing has what it wanted. */
const ALREADY_GONE = ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'];
/** Of those, the ones that may mean that something else is in the slot: routes and forwarding entries are removed by their target as well. */
const MISSED = ['ENOENT', 'ESRCH'];
/** Slots planned in one go: as many as some sends take. */
const REPAIRED_AT_ONCE = 2_040;
const EXPLAINED: readonly KernelObject['kind'][] = ['link', 'wireguard-device'];
/**
 * One operation of ours is several reports, the first ones of what it was on the way: a device that is not up yet, a VLAN without
 * its VNI (br_afspec of net/bridge/br_netlink.c).
 */
const IN_STEPS: readonly KernelObject['kind'][] = ['link', 'bridge-port', 'bridge-vlan'];
/** A list has some tens of devices in the time of a question about one. */
const ASKED_ONE_BY_ONE = 16;
const isInSteps = ({ kind }: KernelObject): boolean => IN_STEPS.includes(kind);
