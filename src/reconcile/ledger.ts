import { isAsWanted } from '#src/reconcile/compare.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Cause, Slot } from '#src/reconcile/slot.ts';
import { SlotTable } from '#src/reconcile/slot-table.ts';
import { Territory } from '#src/reconcile/territory.ts';
import { WorkQueue } from '#src/reconcile/work-queue.ts';

/** What the parts of a reconciler share: what is wanted and found, whose it is, and what is to be done. */
export class Ledger {
  readonly slots = new SlotTable();
  readonly territory = new Territory();
  readonly queue = new WorkQueue<Holding>();
  readonly #onWork: () => void;
  #checkWanted = false;

  /** `onWork` is called when there is something to do. */
  constructor(onWork: () => void) {
    this.#onWork = onWork;
  }

  /** Whether everything is to be compared. */
  get checkWanted(): boolean {
    return this.#checkWanted;
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

  checkBegins(): void {
    this.#checkWanted = false;
  }

  /** Whether there is nothing to do in the slot. */
  isRight({ wanted, found }: Slot): boolean {
    if (wanted === undefined) return found === undefined || this.territory.remover(found) === undefined;
    return found !== undefined && isAsWanted(wanted, found);
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

  /** Failures that waited may be tried again. */
  retry(): void {
    this.queue.wakeAll();
    this.#onWork();
  }
}
