import type { Logger } from '#src/lib/log.ts';

/** How long a peer that a new list lacks may take to show itself again: the store may have been emptied. */
const MISSING_MS = 30_000;
/** How long a peer whose lease was removed may take to claim it again, if it lives. */
const REMOVED_MS = 1_000;

/**
 * Peers that the registry no longer names, each with the time at which it goes. There is no timer here: the owner of the
 * peers asks for what is due, so that a departure is one more message in its order. All times are those of the monotonic
 * clock, in milliseconds, and `now` never goes back.
 */
export class Departures {
  readonly #log: Logger;
  /** Names and deadlines. Each map has one grace period, so that the order of insertion is that of the deadlines. */
  readonly #missing = new Map<string, number>();
  readonly #removed = new Map<string, number>();

  constructor({ log }: { readonly log: Logger }) {
    this.#log = log;
  }

  /** When the next name is due; `undefined` while none is expected to go. */
  get nextDue(): number | undefined {
    const deadlines = [...first(this.#missing), ...first(this.#removed)];
    return deadlines.length === 0 ? undefined : Math.min(...deadlines);
  }

  /** Exactly these are missing in a list of all leases. One that was expected to go before keeps its deadline. */
  missing(names: Iterable<string>, now: number): void {
    const all = new Set(names);
    for (const expected of [this.#missing, this.#removed]) {
      for (const name of expected.keys()) if (!all.has(name)) expected.delete(name);
    }
    let fresh = 0;
    for (const name of all) {
      if (this.#missing.has(name) || this.#removed.has(name)) continue;
      this.#missing.set(name, now + MISSING_MS);
      fresh++;
    }
    if (fresh === 0) return;
    this.#log.warning(
      `${fresh} known peers are not in the registry any more: forwarding to them for ${MISSING_MS / 1_000} s more`,
    );
  }

  /** The leases of these were removed, or ended. */
  removed(names: Iterable<string>, now: number): void {
    const deadline = now + REMOVED_MS;
    for (const name of names) {
      const sooner = this.#removed.has(name) || (this.#missing.get(name) ?? Infinity) <= deadline;
      if (sooner) continue;
      this.#missing.delete(name);
      this.#removed.set(name, deadline);
    }
  }

  /** It showed itself. */
  cancel(name: string): void {
    this.#missing.delete(name);
    this.#removed.delete(name);
  }

  /** The names whose time has come. They are forgotten here. */
  due(now: number): string[] {
    return [...takeDue(this.#missing, now), ...takeDue(this.#removed, now)];
  }
}

function first(expected: ReadonlyMap<string, number>): number[] {
  for (const deadline of expected.values()) return [deadline];
  return [];
}

function takeDue(expected: Map<string, number>, now: number): string[] {
  const due: string[] = [];
  for (const [name, deadline] of expected) {
    if (deadline > now) break;
    due.push(name);
    expected.delete(name);
  }
  return due;
}
