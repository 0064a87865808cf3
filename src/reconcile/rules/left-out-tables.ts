interface LeftOut {
  /** Calls until it is tried again; 0: now. */
  rest: number;
  /** The rest after the next refusal. */
  longer: number;
}

const FIRST_REST = 2;
const LONGEST_REST = 64;

/**
 * Tables that the kernel refused, by the program that was to fill them. Some kernels lack them. Others refuse once (no memory, another
 * program at the same moment), and a module may be installed later. So each table is tried again: at the second call after the
 * first refusal, at the fourth after the second one, and so on.
 */
export class LeftOutTables {
  readonly #tables = new Map<string, Map<string, LeftOut>>();

  /** What is not to be filled now. */
  of(program: string): ReadonlySet<string> {
    const known = this.#tables.get(program) ?? new Map<string, LeftOut>();
    return new Set([...known].flatMap(([table, { rest }]) => (rest > 0 ? [table] : [])));
  }

  /** The kernel refused. Returns whether that is news. */
  refused(program: string, table: string): boolean {
    const known = this.#tables.get(program) ?? new Map<string, LeftOut>();
    this.#tables.set(program, known);
    const before = known.get(table);
    const rest = before?.longer ?? FIRST_REST;
    known.set(table, { rest, longer: Math.min(rest * 2, LONGEST_REST) });
    return before === undefined;
  }

  /** A call comes. Returns whether a table is to be tried again with it. */
  next(): boolean {
    let isDue = false;
    for (const known of this.#tables.values())
      for (const leftOut of known.values()) {
        leftOut.rest = Math.max(0, leftOut.rest - 1);
        isDue ||= leftOut.rest === 0;
      }
    return isDue;
  }

  /** All that was to be filled now has been: returns the tables that were left out before. */
  filled(): string[] {
    const filled: string[] = [];
    for (const known of this.#tables.values())
      for (const [table, { rest }] of known)
        if (rest === 0) {
          known.delete(table);
          filled.push(table);
        }
    return filled;
  }
}
