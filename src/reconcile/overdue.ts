import type { Holding } from '#src/reconcile/holding.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { Clock } from '#src/sys/clock.ts';

/** A slot that is not as wanted, and for how many seconds it has been so. */
export interface OverdueSlot {
  readonly key: string;
  readonly seconds: number;
}

/** A join, a repair or a fight over one object takes less. */
const BOUND_MS = 10_000;
/** Slots of one owner that are followed: a network that joins has 150,000 to do. */
const MOST_FOLLOWED = 1_000;
/** What was not looked at for so long may have been right in between. */
const MEMORY_MS = 60_000;

interface Look {
  readonly at: number;
  /** Slots that are not as wanted, and since when they were at each look. */
  readonly wrong: ReadonlyMap<Slot, number>;
}

/**
 * Finds what is not as wanted for longer than it should take, whatever the cause: a refusal, a device that is not there, another
 * program that undoes each repair. Only what waits is looked at, so a look at a network that is as wanted costs nothing.
 */
export class Overdue {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #looks = new Map<Holding, Look>();

  constructor({ ledger, clock }: { readonly ledger: Ledger; readonly clock: Clock }) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** Looks, and returns what was wrong at every look of the last ten seconds or longer. To be called every few seconds. */
  look(holding: Holding): OverdueSlot[] {
    const now = this.#clock.monotonic();
    const last = this.#looks.get(holding);
    const before = last === undefined || now - last.at > MEMORY_MS ? undefined : last.wrong;
    const wrong = new Map<Slot, number>();
    for (const slot of this.#ledger.waitingOf(holding)) {
      if (wrong.size >= MOST_FOLLOWED) break;
      if (!this.#ledger.isRight(slot)) wrong.set(slot, before?.get(slot) ?? now);
    }
    this.#looks.set(holding, { at: now, wrong });
    return Array.from(wrong)
      .filter(([, since]) => now - since >= BOUND_MS)
      .map(([{ object }, since]) => ({
        key: this.#ledger.kinds.of(object).key(object),
        seconds: Math.floor((now - since) / 1000),
      }));
  }

  drop(holding: Holding): void {
    this.#looks.delete(holding);
  }
}
