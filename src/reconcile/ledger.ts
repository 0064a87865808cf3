import type { Actuator, Stale } from '#src/reconcile/actuator.ts';
import { type DeviceLook, DeviceLooks } from '#src/reconcile/device-looks.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Cause, Slot } from '#src/reconcile/slot.ts';
import { SlotTable } from '#src/reconcile/slot-table.ts';
import { Territory } from '#src/reconcile/territory.ts';
import { WorkQueue } from '#src/reconcile/work-queue.ts';
import type { TakenAlong } from '#src/state/kind.ts';
import type { Kinds } from '#src/state/kinds.ts';
import type { KernelObject } from '#src/state/object.ts';

/** What is to be read again. */
export interface StaleParts {
  isAll: boolean;
  readonly devices: Set<string>;
  readonly objects: KernelObject[];
}

/** What the parts of a reconciler share: what is wanted and found, whose it is, and what is to be done. */
export class Ledger {
  readonly kinds: Kinds<KernelObject>;
  readonly slots: SlotTable;
  readonly territory: Territory;
  readonly queue = new WorkQueue<Holding>();
  /** Slots whose operations the kernel has not answered. */
  underWay: readonly Slot[] = [];
  readonly #onWork: () => void;
  readonly #stale = new Map<Actuator, StaleParts>();
  /** Owners of whose parts of the kernel nothing was read yet. */
  readonly #fresh = new Set<Holding>();
  readonly #looks = new DeviceLooks();
  /** By device: slots that wait for it, and why they are to be looked at. */
  readonly #stranded = new Map<string, Map<Slot, Cause>>();
  #checkWanted = false;

  /** `onWork` is called when there is something to do. */
  constructor(kinds: Kinds<KernelObject>, onWork: () => void) {
    this.kinds = kinds;
    this.slots = new SlotTable(kinds);
    this.territory = new Territory(kinds);
    this.#onWork = onWork;
  }

  /** Whether everything is to be compared. */
  get checkWanted(): boolean {
    return this.#checkWanted;
  }

  /** Whether any part of the kernel is to be compared: all of it, that of an owner, or a device. */
  get hasLooks(): boolean {
    return this.#checkWanted || this.hasFresh || this.#looks.any;
  }

  /** Whether there is anything to do now. */
  get hasWork(): boolean {
    return this.hasLooks || this.stale || !this.queue.isEmpty;
  }

  /** Compares everything, soon. */
  check(): void {
    this.#checkWanted = true;
    this.#onWork();
  }

  /** Compares everything when there is work next. */
  checkLater(): void {
    this.#checkWanted = true;
  }

  /** Compares what one owner looks after, soon. */
  lookAt(holding: Holding): void {
    this.#fresh.add(holding);
    this.#onWork();
  }

  get hasFresh(): boolean {
    return this.#fresh.size > 0;
  }

  /** Those that are still owners. */
  takeFresh(): Holding[] {
    const taken = [...this.#fresh].filter(({ isReleased }) => !isReleased);
    this.#fresh.clear();
    return taken;
  }

  /** Compares what is on one device, soon: objects of these kinds or all, and what is wanted in `more`. */
  lookOn(device: string, taken: Exclude<TakenAlong, 'any'> = 'all', more: Iterable<Slot> = []): void {
    if (this.#looks.add(device, taken, more)) this.#onWork();
    else this.check();
  }

  takeLooks(): [string, DeviceLook][] {
    return this.#looks.take();
  }

  checkBegins(): void {
    this.#checkWanted = false;
    this.#fresh.clear();
    this.#looks.take();
    // The comparison finds them, where they are still wanted.
    this.#stranded.clear();
  }

  /** Objects of an actuator may have changed: all, those on a device, or these. They are read again, soon. */
  reread(actuator: Actuator, what: Stale | readonly KernelObject[]): void {
    let parts = this.#stale.get(actuator);
    if (parts === undefined) {
      parts = { isAll: false, devices: new Set(), objects: [] };
      this.#stale.set(actuator, parts);
    }
    if (what === 'all') parts.isAll = true;
    else if ('device' in what) parts.devices.add(what.device);
    else for (const object of what) parts.objects.push(object);
    this.#onWork();
  }

  /** Actuators that are to read again. */
  get stale(): boolean {
    return this.#stale.size > 0;
  }

  takeStale(): [Actuator, StaleParts][] {
    const taken = [...this.#stale];
    this.#stale.clear();
    return taken;
  }

  /** A device went, and everything on it: the slots in which something is wanted. */
  forgetDevice(device: KernelObject): Slot[] {
    const name = this.kinds.of(device).deviceOf(device);
    const missed: Slot[] = [];
    if (name === undefined) return missed;
    for (const slot of this.slots.foundOn(name)) {
      this.slots.clear(slot);
      if (slot.wanted !== undefined) missed.push(slot);
    }
    return missed;
  }

  /** A slot has to wait for its device, which is not there: {@link deviceCame} takes it up again. */
  strand(device: string, slot: Slot, cause: Cause): void {
    const stranded = this.#stranded.get(device);
    if (stranded === undefined) this.#stranded.set(device, new Map([[slot, cause]]));
    else stranded.set(slot, cause);
  }

  /** The owner's slots that are to be looked at, are worked on, or wait for their time or for a device. Some come twice. */
  *waitingOf(holding: Holding): Generator<Slot> {
    yield* this.queue.of(holding);
    for (const slot of this.underWay) if (this.holdingOf(slot) === holding) yield slot;
    for (const stranded of this.#stranded.values())
      for (const slot of stranded.keys()) if (this.holdingOf(slot) === holding) yield slot;
  }

  /** A device is there now: what waited for it is looked at. */
  deviceCame(device: KernelObject): void {
    if (this.#stranded.size === 0) return;
    const name = this.kinds.of(device).deviceOf(device) ?? '';
    const stranded = this.#stranded.get(name);
    this.#stranded.delete(name);
    for (const [slot, cause] of stranded ?? []) if (!this.isRight(slot)) this.touch(slot, cause);
  }

  /** Whether anything is believed to be on the device of which there is no report. */
  hasUnreportedOn(device: string): boolean {
    return this.#hasOn(device, ({ reported }) => !reported);
  }

  /** Whether anything is believed to be on the device that is wanted there. */
  hasAnyWantedOn(device: string): boolean {
    return this.#hasOn(device, ({ wanted }) => wanted !== undefined);
  }

  /** Whether anything of these kinds is believed to be on the device. */
  hasAnyOn(device: string, kinds: Exclude<TakenAlong, 'any'>): boolean {
    return this.#hasOn(device, ({ object }) => kinds === 'all' || kinds.includes(object.kind));
  }

  #hasOn(device: string, isMeant: (slot: Slot) => boolean): boolean {
    for (const slot of this.slots.foundOn(device)) if (isMeant(slot)) return true;
    return false;
  }

  /** Whether there is nothing to do in the slot. */
  isRight({ wanted, found }: Slot): boolean {
    if (wanted === undefined) return found === undefined || this.territory.remover(found) === undefined;
    if (found === undefined) return false;
    return wanted === found || this.kinds.of(wanted).isAsWanted(wanted, found);
  }

  /** Whose the slot is: the owner that wants it, or the one for which it is removed. */
  holdingOf({ wanted, holding, found }: Slot): Holding | undefined {
    return wanted === undefined && found !== undefined ? this.territory.remover(found) : holding;
  }

  /** The slot is to be looked at, for the owner given or for the one whose it is. */
  touch(slot: Slot, cause: Cause, holding = this.holdingOf(slot)): void {
    this.queue.add(slot, cause, holding);
    this.#onWork();
  }

  /** The slot is no longer the former owner's: it is looked at for the one whose it is. */
  pass(slot: Slot, former: Holding): void {
    this.queue.pass(slot, this.holdingOf(slot) ?? former);
    this.#onWork();
  }

  /** Failures that waited may be tried again. */
  retry(): void {
    this.queue.wakeAll();
    this.#onWork();
  }
}
