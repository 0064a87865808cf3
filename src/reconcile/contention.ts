import type { Logger } from '#src/lib/log.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import type { Ledger } from '#src/reconcile/ledger.ts';
import type { Slot } from '#src/reconcile/slot.ts';
import type { Rival } from '#src/reconcile/slot-table.ts';

/** A slot that an owner wants and another one has. */
export interface Lost {
  readonly slot: Slot;
  readonly rival: Rival;
  readonly key: string;
  /** Which owner has it, and what that owner wants there. */
  readonly reason: string;
}

/** Slots that several owners want for different objects. The first owner keeps such a slot. */
export class Contention {
  readonly #ledger: Ledger;
  readonly #log: Logger;

  constructor({ ledger, log }: { readonly ledger: Ledger; readonly log: Logger }) {
    this.#ledger = ledger;
    this.#log = log;
  }

  /** What one owner does not get, or all of them. */
  lost(holding?: Holding): Lost[] {
    return Array.from(this.#ledger.slots.contended(holding)).map(({ slot, rival }) => {
      const kind = this.#ledger.kinds.of(rival.object);
      const other = slot.wanted === undefined ? '' : `: "${kind.format(slot.wanted)}"`;
      const reason = `${slot.holding?.name ?? 'another owner'} has it first${other}`;
      return { slot, rival, key: kind.key(rival.object), reason };
    });
  }

  /** Logs what an owner does not get, each slot once for as long as that lasts. */
  log(holding: Holding): void {
    if (!this.#ledger.slots.hasRivals && holding.lost.size === 0) return;
    const lost = this.lost(holding);
    const keys = new Set(lost.map(({ key }) => key));
    for (const key of holding.lost) if (!keys.has(key)) holding.lost.delete(key);
    for (const { key, reason } of lost) {
      if (holding.lost.has(key)) continue;
      holding.lost.add(key);
      this.#log.error(`${holding.name} can't have ${key}: ${reason}`, { key, reason });
      holding.events.note({
        type: 'failure',
        severity: 'error',
        subject: key,
        text: `Not to be had: ${reason}`,
      });
    }
  }
}
