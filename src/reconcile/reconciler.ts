import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { differences, isAsWanted } from '#src/reconcile/compare.ts';
import { Failures } from '#src/reconcile/failures.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import { type Cause, type Slot, SlotTable } from '#src/reconcile/slot-table.ts';
import { formatObject, type KernelObject, keyOf, type Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/** Which part of the kernel is looked at, and what in it is ours to remove. */
export interface Territory {
  /** Devices whose addresses, routes, neighbours and forwarding entries are compared: ours, and the underlay. */
  devices(): readonly string[];
  /** Routes with this RTPROT_* are compared as well, whatever their device: a blackhole has none. */
  readonly routeProtocol: number;
  /** Whether an object that nobody wants was made by us (or by a flannel before us), by its shape alone. */
  owns(object: KernelObject): boolean;
}

export interface ReconcilerComponents {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ReconcilerOptions {
  readonly territory: Territory;
  /** Milliseconds between full comparisons. Events do the work; this is for what no event told. */
  readonly fullCheckMs: number;
  /** The share of the time that they may take: where that is not enough for one each `fullCheckMs`, they are fewer. */
  readonly fullCheckShare: number;
}

/** What a reader (status, health, metrics) may know. */
export interface ReconcilerStatus {
  readonly wanted: number;
  /** Slots that are not as wanted, with the kernel's last word on each. */
  readonly failing: readonly { readonly key: string; readonly reason: string }[];
  /** Repairs of what had been right, since the start. */
  readonly repairs: number;
  readonly checks: number;
}

/**
 * Makes the kernel hold what is wanted, and keeps it so. Start, event, drift, restart and upgrade are one path: a
 * slot is looked at again, and the difference, if there is one, is applied.
 */
export class Reconciler {
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: ReconcilerOptions;
  readonly #slots = new SlotTable();
  /** Slots to look at. Each is in it once; see {@link Slot.cause}. */
  #dirty: Slot[] = [];
  readonly #pacer = new RepairPacer();
  readonly #failures: Failures;
  /** Slots whose removal found nothing since the last full comparison that the interval asked for. */
  readonly #missed = new Set<string>();
  readonly #observers = new Set<(event: KernelEvent) => void>();
  #checkWanted = false;
  #mayRemove = false;
  #working = false;
  #waiters: (() => void)[] = [];
  #signal: AbortSignal = AbortSignal.abort();
  #repairs = 0;
  #checks = 0;
  /** Milliseconds that the last full comparison took. */
  #checkTook = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor({ kernel, clock, log }: ReconcilerComponents, options: ReconcilerOptions) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#log = log;
    this.#failures = new Failures({ log });
    this.#options = options;
  }

  get status(): ReconcilerStatus {
    const failing = this.#failures.all;
    return { wanted: this.#slots.wanted, failing, repairs: this.#repairs, checks: this.#checks };
  }

  /** Subscribes to the kernel and compares once. What is wanted may be said before or after. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    await this.#kernel.monitor((event) => this.#onEvent(event), signal);
    this.check();
    this.#checkAtInterval().catch((error) => this.#stumble(error));
    await this.settled();
  }

  /** Says all that is wanted on the owner's behalf; none withdraws it. Takes effect at once, in one batch with what else is said in this turn. */
  set(owner: string, objects: readonly KernelObject[]): void {
    this.#slots.want(owner, objects, (slot) => this.#touch(slot, 'wanted'));
  }

  /**
   * For thousands of changes: what is said meanwhile is done without listening to the kernel's telling of each, and all
   * is compared in the end.
   */
  async inBulk(say: () => Promise<void>): Promise<void> {
    const unmuffle = this.#kernel.muffle();
    try {
      await say();
      await this.settled();
    } finally {
      unmuffle();
      this.check();
    }
  }

  /**
   * From now on what is ours and wanted by nobody is removed. Until the registry is known, it is left: it may belong to
   * a peer that we have not heard of yet.
   */
  allowRemoval(): void {
    if (this.#mayRemove) return;
    this.#mayRemove = true;
    // What there is was read at the start, and followed since.
    this.#slots.each((slot) => {
      if (slot.found !== undefined && !this.#isRight(slot)) this.#touch(slot, 'kernel');
    });
  }

  /** Compares everything, soon. */
  check(): void {
    this.#checkWanted = true;
    this.#work();
  }

  /** Tries at once what failed before: something happened on which it may depend, such as an interface that came back. */
  retry(): void {
    this.#failures.endPauses();
    this.#work();
  }

  /** Resolves when all that can be done now has been done. What failed is in {@link status}, and is tried again. */
  settled(): Promise<void> {
    if (!this.#working) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Kernel events as they come, for those who follow the underlay. Returns how to stop listening. */
  observe(listener: (event: KernelEvent) => void): () => void {
    this.#observers.add(listener);
    return () => this.#observers.delete(listener);
  }

  /** What a start would change, in order, without changing it. Reads the kernel. For one that was not started. */
  async plan(): Promise<Operation[]> {
    await this.#look();
    const { territory } = this.#options;
    const slots = [...this.#slots.endLook()];
    return planOf(
      slots.filter(
        ({ wanted, found }) => wanted !== undefined || (found !== undefined && territory.owns(found)),
      ),
    );
  }

  #onEvent(event: KernelEvent): void {
    for (const observer of this.#observers) observer(event);
    if (event.type === 'netconf') return;
    if (event.type === 'overrun') {
      this.#log.warning('The kernel dropped events (ENOBUFS): comparing everything');
      this.check();
      return;
    }
    const { object } = event;
    let slot = this.#slots.find(object);
    if (slot === undefined && !this.#isOurs(object)) return;
    const before = slot?.found;
    if (event.type === 'changed') slot = this.#slots.put(object);
    else if (slot !== undefined && (before === undefined || sameTarget(before, object)))
      this.#slots.clear(slot);
    else return;
    slot.told = true;
    if (object.kind === 'link') this.#onLinkChange(object, before, event.type === 'removed');
    // With a device's last address the kernel takes its routes and neighbours, in silence as well.
    if (object.kind === 'address' && event.type === 'removed') this.check();
    if (!this.#isRight(slot)) this.#touch(slot, 'kernel');
  }

  /** The kernel takes routes and neighbours away with a device that goes down, and tells nobody. */
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
      this.check();
    }
  }

  /** Whether anything is believed to be on the device. */
  #hasAnyOn(device: string): boolean {
    let any = false;
    this.#slots.each(({ found }) => {
      any ||= found !== undefined && found.kind !== 'link' && found.device === device;
    });
    return any;
  }

  #forgetDevice(device: string): void {
    this.#slots.each((slot) => {
      const { found } = slot;
      if (found !== undefined && found.kind !== 'link' && found.device === device) this.#slots.clear(slot);
    });
  }

  /** Whether it is ours, or to be followed, though nothing is wanted in its slot. */
  #isOurs(object: KernelObject): boolean {
    if (object.kind === 'link') return this.#options.territory.devices().includes(object.name);
    return this.#options.territory.owns(object);
  }

  #isRight({ wanted, found }: Slot): boolean {
    if (wanted === undefined)
      return found === undefined || !this.#mayRemove || !this.#options.territory.owns(found);
    return found !== undefined && isAsWanted(wanted, found);
  }

  #touch(slot: Slot, cause: Cause): void {
    if (slot.cause === undefined) this.#dirty.push(slot);
    if (slot.cause !== 'kernel') slot.cause = cause;
    this.#work();
  }

  #work(): void {
    if (this.#working || this.#signal.aborted) return;
    this.#working = true;
    setImmediate(() => {
      this.#workAll()
        .catch((error) => this.#stumble(error))
        .finally(() => {
          this.#working = false;
          for (const resolve of this.#waiters.splice(0)) resolve();
        });
    });
  }

  async #workAll(): Promise<void> {
    while (!this.#signal.aborted) {
      if (this.#checkWanted) await this.#compareAll();
      else if (!(await this.#repairSome())) return;
    }
  }

  /** Repairs some of what may be repaired now; false when there was nothing to do. */
  async #repairSome(): Promise<boolean> {
    const now = this.#clock.monotonic();
    const slots: Slot[] = [];
    const drifted = new Set<Slot>();
    const waiting: Slot[] = [];
    let looked = 0;
    for (const slot of this.#dirty) {
      if (slots.length === REPAIRED_AT_ONCE) break;
      looked++;
      const cause = slot.cause ?? 'wanted';
      const wait = this.#waitFor(slot, cause, now);
      if (wait > 0) {
        this.#wakeIn(wait, now);
        waiting.push(slot);
        continue;
      }
      slot.cause = undefined;
      slots.push(slot);
      if (cause === 'kernel') drifted.add(slot);
    }
    this.#dirty = [...this.#dirty.slice(looked), ...waiting];
    const notRight = slots.filter((slot) => {
      if (!this.#isRight(slot)) return true;
      this.#failures.forgive(slot.object);
      return false;
    });
    const wrong = this.#withDevice(notRight);
    if (wrong.length === 0) return slots.length > 0;
    const operations = planOf(wrong);
    this.#sayRepairs(
      wrong.filter((slot) => drifted.has(slot) && this.#failures.notBefore(slot.object) === undefined),
      now,
    );
    for (const slot of wrong) slot.told = false;
    const results = await this.#kernel.apply(operations);
    for (const result of results) this.#settle(result, now);
    return true;
  }

  /** Leaves out what belongs on a device that is not there and can't be made now: making it marks them again. */
  #withDevice(slots: readonly Slot[]): Slot[] {
    const made = slots.flatMap(({ wanted }) => (wanted?.kind === 'link' ? wanted.name : []));
    const isThere = new Map<string, boolean>();
    return slots.filter(({ wanted }) => {
      if (wanted === undefined || wanted.kind === 'link' || wanted.device === undefined) return true;
      const { device } = wanted;
      const known = isThere.get(device);
      if (known !== undefined) return known;
      const link = this.#slots.find({ kind: 'link', name: device });
      const there = link?.wanted === undefined || link.found !== undefined || made.includes(device);
      isThere.set(device, there);
      return there;
    });
  }

  #waitFor(slot: Slot, cause: Cause, now: number): number {
    const notBefore = this.#failures.notBefore(slot.object);
    if (notBefore !== undefined) return notBefore - now;
    return cause === 'kernel' ? this.#pacer.delay(keyOf(slot.object), now) : 0;
  }

  #settle({ operation, ...result }: OperationResult, now: number): void {
    const { verb, object } = operation;
    if (!result.done && result.error.errno === 'ENODEV' && this.#losesItsDevice(object)) {
      this.check();
      return;
    }
    if (!result.done && !(verb === 'remove' && ALREADY_GONE.includes(result.error.errno))) {
      this.#failures.note(operation, `${result.error.message} (${result.error.errno})`, now);
      const failed = this.#slots.find(object);
      if (failed !== undefined) this.#touch(failed, 'wanted');
      return;
    }
    this.#failures.forgive(object);
    let slot = this.#slots.find(object);
    if (verb === 'remove') {
      // What an event has put into the slot since is somebody's newer word.
      if (slot !== undefined && (object.kind === 'link' || slot.found === object)) this.#slots.clear(slot);
      if (!result.done && MISSED.includes(result.error.errno)) this.#lookAgain(keyOf(object));
      if (object.kind === 'link') this.#forgetDevice(object.name);
    } else if (object.kind === 'link') {
      const before = slot?.found;
      slot = this.#slots.put(before?.kind === 'link' ? { ...before, ...object } : object);
      // Whatever hung on the device before it was made again went with the old one.
      if (verb === 'add' && this.#hasAnyOn(object.name)) this.check();
    } else if (slot?.told !== true) {
      // Where the kernel told of it meanwhile, that stands: at worst what is there already is put there again.
      slot = this.#slots.put(object);
    }
    if (slot !== undefined && !this.#isRight(slot)) this.#touch(slot, 'wanted');
  }

  /**
   * An event from before our own last change may have come after it, and named what we had replaced already: then
   * something else is in the slot. Once for each slot between two full comparisons: what the kernel shows and does not
   * let go must not make them follow each other.
   */
  #lookAgain(key: string): void {
    if (this.#missed.has(key)) return;
    this.#missed.add(key);
    this.check();
  }

  /** The device went while something was put on it: the comparison makes it again, and then everything on it. */
  #losesItsDevice(object: KernelObject): boolean {
    return (
      object.kind !== 'link' &&
      object.device !== undefined &&
      this.#slots.find({ kind: 'link', name: object.device })?.wanted !== undefined
    );
  }

  #sayRepairs(slots: readonly Slot[], now: number): void {
    for (const [index, { object: known, wanted, found }] of slots.entries()) {
      this.#repairs++;
      const key = keyOf(known);
      const object = wanted ?? found ?? known;
      const fight = this.#pacer.repaired(key, now);
      const how =
        wanted === undefined
          ? 'stale'
          : found === undefined
            ? 'was gone'
            : differences(wanted, found).join(', ');
      if (fight) {
        this.#log.warning(
          `Another program keeps changing "${formatObject(object)}" (${how}); repairing it once a second`,
        );
      } else if (index < LOGGED_REPAIRS) {
        this.#log.info(`Repairing ${object.kind} "${formatObject(object)}" (${how})`, { key });
      }
    }
    if (slots.length > LOGGED_REPAIRS) this.#log.info(`Repairing ${slots.length - LOGGED_REPAIRS} more`);
  }

  async #compareAll(): Promise<void> {
    const began = this.#clock.monotonic();
    this.#checkWanted = false;
    this.#checks++;
    await this.#look();
    const budget = new TurnBudget(this.#clock);
    for (const slot of this.#slots.endLook()) {
      if (!this.#isRight(slot) && slot.cause === undefined)
        this.#touch(slot, this.#checks === 1 ? 'wanted' : 'kernel');
      if (budget.isSpent) await budget.turn();
    }
    const now = this.#clock.monotonic();
    this.#pacer.forgetOld(now);
    this.#checkTook = now - began;
  }

  /** What is in the kernel, kind by kind and in turns: 150,000 objects at 50,000 peers. */
  async #look(): Promise<void> {
    this.#slots.beginLook();
    const { territory } = this.#options;
    const devices = territory.devices();
    const take = (object: KernelObject) => {
      const slot = this.#slots.find(object);
      if (slot !== undefined || this.#isOurs(object)) this.#slots.sight(object, slot);
    };
    for (const link of await this.#kernel.links()) {
      if (!devices.includes(link.name)) continue;
      take(link);
      for (const kind of ['address', 'fdb', 'neighbour', 'route'] as const)
        await this.#kernel.scan({ kinds: [kind], device: link.name }, take);
    }
    await this.#kernel.scan({ kinds: ['route'], protocol: territory.routeProtocol }, take);
  }

  async #checkAtInterval(): Promise<void> {
    for (;;) {
      const { fullCheckMs, fullCheckShare } = this.#options;
      await this.#clock.sleep(Math.max(fullCheckMs, this.#checkTook / fullCheckShare), this.#signal);
      this.#missed.clear();
      this.check();
    }
  }

  #wakeIn(ms: number, now: number): void {
    if (now + ms >= this.#wakeAt) return;
    this.#wakeAt = now + ms;
    this.#clock
      .sleep(ms, this.#signal)
      .then(() => {
        this.#wakeAt = Number.POSITIVE_INFINITY;
        this.#work();
      })
      .catch((error) => this.#stumble(error));
  }

  /** A dump or a send that failed as a whole: said, and tried again with everything compared. */
  #stumble(error: unknown): void {
    if (isAbort(error) || this.#signal.aborted) return;
    this.#log.error(
      `Could not compare the kernel with what is wanted: ${messageOf(error)}; trying again in 1 s`,
    );
    this.#checkWanted = true;
    this.#wakeIn(STUMBLE_PAUSE_MS, this.#clock.monotonic());
  }
}

/** A removal that finds nothing has what it wanted. */
const ALREADY_GONE = ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'];
/** Of those, the ones that may mean that something else is in the slot: routes and forwarding entries are removed by their target as well. */
const MISSED = ['ENOENT', 'ESRCH'];
const STUMBLE_PAUSE_MS = 1_000;
/** Slots planned in one go: as many as some sends take, and a multiple of what a peer has, so that a peer's go together. */
const REPAIRED_AT_ONCE = 2_040;
const LOGGED_REPAIRS = 10;

/**
 * Whether the object that a removal event names is the one in the slot. A route or forwarding entry that was
 * replaced is sometimes told as a removal of the old one after the new one came.
 */
function sameTarget(found: KernelObject, removed: KernelObject): boolean {
  if (found.kind === 'fdb' && removed.kind === 'fdb') return found.destination === removed.destination;
  if (found.kind === 'route' && removed.kind === 'route') {
    return found.via === removed.via && found.device === removed.device && found.type === removed.type;
  }
  return true;
}
