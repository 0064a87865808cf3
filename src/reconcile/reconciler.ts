import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { formatObject, type KernelObject, keyOf, type Link } from '#src/kernel/object.ts';
import { commandOf, type Operation, type OperationResult } from '#src/kernel/operation.ts';
import { TurnBudget } from '#src/kernel/turn-budget.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { differences } from '#src/reconcile/compare.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import { WantedState } from '#src/reconcile/wanted-state.ts';
import type { Clock } from '#src/sys/clock.ts';

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
  readonly #wanted = new WantedState();
  /** What is in the kernel, as far as it concerns us; the very object of the wanted state where they are equal. */
  #found = new Map<string, KernelObject>();
  /** Slots to look at, and whether that is because the kernel changed under us. */
  readonly #dirty = new Map<string, Cause>();
  readonly #pacer = new RepairPacer();
  readonly #failing = new Map<string, Failure>();
  /** Slots whose removal found nothing since the last full comparison that the interval asked for. */
  readonly #missed = new Set<string>();
  readonly #observers = new Set<(event: KernelEvent) => void>();
  /** Keys that changed while a dump was being taken: newer than the dump. */
  #changedDuringDump: Set<string> | undefined;
  #checkWanted = false;
  #mayRemove = false;
  #working = false;
  #waiters: (() => void)[] = [];
  #signal: AbortSignal = AbortSignal.abort();
  #repairs = 0;
  #checks = 0;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor({ kernel, clock, log }: ReconcilerComponents, options: ReconcilerOptions) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  get status(): ReconcilerStatus {
    const failing = Array.from(this.#failing, ([key, { reason }]) => ({ key, reason }));
    return { wanted: this.#wanted.size, failing, repairs: this.#repairs, checks: this.#checks };
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
    for (const key of this.#wanted.set(owner, objects)) this.#touch(key, 'wanted');
  }

  /** Those on whose behalf something is wanted. */
  owners(): readonly string[] {
    return [...this.#wanted.owners()];
  }

  /**
   * From now on what is ours and wanted by nobody is removed. Until the registry is known, it is left: it may belong to
   * a peer that we have not heard of yet.
   */
  allowRemoval(): void {
    if (this.#mayRemove) return;
    this.#mayRemove = true;
    // What there is was read at the start, and followed since.
    for (const key of this.#found.keys()) if (!this.#isRight(key)) this.#touch(key, 'kernel');
  }

  /** Compares everything, soon. */
  check(): void {
    this.#checkWanted = true;
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

  /** What a start would change, in order, without changing it. Reads the kernel. */
  async plan(): Promise<Operation[]> {
    const found = await this.#dump(() => true);
    const slots = [...this.#wanted.keys()].map((key) => ({
      wanted: this.#wanted.get(key),
      found: found.get(key),
    }));
    const stale = Array.from(found, ([key, object]) => ({ key, object }))
      .filter(
        ({ key, object }) => this.#wanted.get(key) === undefined && this.#options.territory.owns(object),
      )
      .map(({ object }) => ({ wanted: undefined, found: object }));
    return planOf([...slots, ...stale]);
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
    const key = keyOf(object);
    if (!this.#concerns(key, object)) return;
    this.#changedDuringDump?.add(key);
    const before = this.#found.get(key);
    if (event.type === 'changed') this.#found.set(key, this.#sameAsWanted(key, object));
    else if (before === undefined || sameTarget(before, object)) this.#found.delete(key);
    else return;
    if (object.kind === 'link') this.#onLinkChange(object, before, event.type === 'removed');
    // With a device's last address the kernel takes its routes and neighbours, in silence as well.
    if (object.kind === 'address' && event.type === 'removed') this.check();
    if (!this.#isRight(key)) this.#touch(key, 'kernel');
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

  #forgetDevice(device: string): void {
    for (const [key, object] of this.#found) {
      if (object.kind !== 'link' && object.device === device) this.#found.delete(key);
    }
  }

  #concerns(key: string, object: KernelObject): boolean {
    if (this.#wanted.get(key) !== undefined || this.#found.has(key)) return true;
    if (object.kind === 'link') return this.#options.territory.devices().includes(object.name);
    return this.#options.territory.owns(object);
  }

  /** What was found in a slot; where it is as wanted, the wanted object itself, so that nothing is held twice. */
  #sameAsWanted(key: string, object: KernelObject): KernelObject {
    const wanted = this.#wanted.get(key);
    const same = wanted !== undefined && wanted.kind !== 'link' && differences(wanted, object).length === 0;
    return same ? wanted : object;
  }

  #isRight(key: string): boolean {
    const [wanted, found] = [this.#wanted.get(key), this.#found.get(key)];
    if (wanted === undefined)
      return found === undefined || !this.#mayRemove || !this.#options.territory.owns(found);
    return found !== undefined && (found === wanted || differences(wanted, found).length === 0);
  }

  #touch(key: string, cause: Cause): void {
    if (this.#dirty.get(key) !== 'kernel') this.#dirty.set(key, cause);
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
    const keys: string[] = [];
    const drifted = new Set<string>();
    for (const [key, cause] of this.#dirty) {
      const wait = this.#waitFor(key, cause, now);
      if (wait > 0) {
        this.#wakeIn(wait, now);
        continue;
      }
      keys.push(key);
      if (cause === 'kernel') drifted.add(key);
      if (keys.length === REPAIRED_AT_ONCE) break;
    }
    for (const key of keys) this.#dirty.delete(key);
    const notRight = keys.filter((key) => {
      if (!this.#isRight(key)) return true;
      this.#failing.delete(key);
      return false;
    });
    const wrong = this.#withDevice(notRight);
    if (wrong.length === 0) return keys.length > 0;
    const operations = planOf(wrong.map((key) => this.#slot(key)));
    this.#sayRepairs(
      wrong.filter((key) => drifted.has(key) && !this.#failing.has(key)),
      now,
    );
    const results = await this.#kernel.apply(operations);
    for (const result of results) this.#settle(result, now);
    return true;
  }

  /** Leaves out what belongs on a device that is not there and can't be made now: making it marks them again. */
  #withDevice(keys: readonly string[]): string[] {
    const here = new Set(keys);
    return keys.filter((key) => {
      const object = this.#wanted.get(key);
      if (object === undefined || object.kind === 'link' || object.device === undefined) return true;
      const link = `link ${object.device}`;
      return this.#wanted.get(link) === undefined || this.#found.has(link) || here.has(link);
    });
  }

  #slot(key: string): { wanted: KernelObject | undefined; found: KernelObject | undefined } {
    return { wanted: this.#wanted.get(key), found: this.#found.get(key) };
  }

  #waitFor(key: string, cause: Cause, now: number): number {
    const failure = this.#failing.get(key);
    if (failure !== undefined) return failure.notBefore - now;
    return cause === 'kernel' ? this.#pacer.delay(key, now) : 0;
  }

  #settle({ operation, ...result }: OperationResult, now: number): void {
    const { verb, object } = operation;
    const key = keyOf(object);
    this.#changedDuringDump?.add(key);
    if (!result.done && result.error.errno === 'ENODEV' && this.#losesItsDevice(object)) {
      this.check();
      return;
    }
    if (!result.done && !(verb === 'remove' && ALREADY_GONE.includes(result.error.errno))) {
      this.#fail(key, operation, `${result.error.message} (${result.error.errno})`, now);
      return;
    }
    this.#failing.delete(key);
    if (verb === 'remove') {
      // What an event has put into the slot since is somebody's newer word.
      if (object.kind === 'link' || this.#found.get(key) === object) this.#found.delete(key);
      if (!result.done && MISSED.includes(result.error.errno)) this.#lookAgain(key);
      if (object.kind === 'link') this.#forgetDevice(object.name);
    } else if (object.kind === 'link') {
      const before = this.#found.get(key);
      this.#found.set(key, before?.kind === 'link' ? { ...before, ...object } : object);
      // Whatever hung on the device before it was made again went with the old one.
      if (verb === 'add') this.check();
    } else {
      this.#found.set(key, object);
    }
    if (!this.#isRight(key)) this.#touch(key, 'wanted');
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
      this.#wanted.get(`link ${object.device}`) !== undefined
    );
  }

  #fail(key: string, operation: Operation, reason: string, now: number): void {
    const attempts = (this.#failing.get(key)?.attempts ?? 0) + 1;
    const pause = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS);
    if (this.#failing.get(key)?.reason !== reason) {
      this.#log.error(
        `Could not apply "${commandOf(operation)}": ${reason}; trying again in ${pause} ms and on`,
        {
          key,
          reason,
        },
      );
    }
    this.#failing.set(key, { attempts, reason, notBefore: now + pause });
    this.#touch(key, 'wanted');
  }

  #sayRepairs(keys: readonly string[], now: number): void {
    for (const [index, key] of keys.entries()) {
      this.#repairs++;
      const fight = this.#pacer.repaired(key, now);
      const { wanted, found } = this.#slot(key);
      const object = wanted ?? found;
      if (object === undefined) continue;
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
    if (keys.length > LOGGED_REPAIRS) this.#log.info(`Repairing ${keys.length - LOGGED_REPAIRS} more`);
  }

  async #compareAll(): Promise<void> {
    this.#checkWanted = false;
    this.#checks++;
    const changed = new Set<string>();
    this.#changedDuringDump = changed;
    let found: Map<string, KernelObject>;
    try {
      found = await this.#dump((key, object) => this.#concerns(key, object));
    } finally {
      this.#changedDuringDump = undefined;
    }
    for (const key of changed) {
      const newer = this.#found.get(key);
      if (newer === undefined) found.delete(key);
      else found.set(key, newer);
    }
    this.#found = found;
    const budget = new TurnBudget(this.#clock);
    for (const keys of [this.#wanted.keys(), found.keys()]) {
      for (const key of keys) {
        if (!this.#isRight(key)) this.#mark(key);
        await budget.turn();
      }
    }
    this.#pacer.forgetOld(this.#clock.monotonic());
  }

  #mark(key: string): void {
    if (!this.#dirty.has(key)) this.#dirty.set(key, this.#checks === 1 ? 'wanted' : 'kernel');
  }

  /** What is in the kernel, kind by kind and in turns: 150,000 objects at 50,000 peers. */
  async #dump(concerns: (key: string, object: KernelObject) => boolean): Promise<Map<string, KernelObject>> {
    const found = new Map<string, KernelObject>();
    const { territory } = this.#options;
    const devices = territory.devices();
    const budget = new TurnBudget(this.#clock);
    const take = async (objects: readonly KernelObject[]) => {
      for (const object of objects) {
        const key = keyOf(object);
        if (concerns(key, object)) found.set(key, this.#sameAsWanted(key, object));
        await budget.turn();
      }
    };
    for (const link of await this.#kernel.links()) {
      if (!devices.includes(link.name)) continue;
      await take([link]);
      for (const kind of ['address', 'fdb', 'neighbour', 'route'] as const)
        await take(await this.#kernel.dump({ kinds: [kind], device: link.name }));
    }
    await take(await this.#kernel.dump({ kinds: ['route'], protocol: territory.routeProtocol }));
    return found;
  }

  async #checkAtInterval(): Promise<void> {
    for (;;) {
      await this.#clock.sleep(this.#options.fullCheckMs, this.#signal);
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

type Cause = 'wanted' | 'kernel';

interface Failure {
  readonly attempts: number;
  readonly reason: string;
  /** Monotonic milliseconds. */
  readonly notBefore: number;
}

/** A removal that finds nothing has what it wanted. */
const ALREADY_GONE = ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'];
/** Of those, the ones that may mean that something else is in the slot: routes and forwarding entries are removed by their target as well. */
const MISSED = ['ENOENT', 'ESRCH'];
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 30_000;
const STUMBLE_PAUSE_MS = 1_000;
/** Slots planned in one go: as many as one send takes, and a multiple of what a peer has, so that a peer's go together. */
const REPAIRED_AT_ONCE = 510;
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
