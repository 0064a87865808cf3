const SLOT_MS = 100;
/** 51.2 s: more than any interval. */
const SLOTS = 512;

/** Something that is looked at, at times that it says itself. */
export interface Looked {
  /** When to look again, by performance.now(); `undefined` for never. */
  look(now: number): number | undefined;
}

/** A timer for 100,000 things, by tenths of a second. */
export class Wheel {
  readonly #slots: Looked[][] = Array.from({ length: SLOTS }, () => []);
  readonly #timer: NodeJS.Timeout;
  #slot = Math.floor(performance.now() / SLOT_MS);

  constructor() {
    this.#timer = setInterval(() => this.#turn(), SLOT_MS);
  }

  add(thing: Looked, at: number): void {
    const slot = Math.max(Math.ceil(at / SLOT_MS), this.#slot + 1);
    this.#slots[slot % SLOTS]?.push(thing);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #turn(): void {
    const now = performance.now();
    for (const last = Math.floor(now / SLOT_MS); this.#slot < last; this.#slot++) {
      const at = this.#slot % SLOTS;
      const things = this.#slots[at] ?? [];
      this.#slots[at] = [];
      for (const thing of things) {
        const next = thing.look(now);
        if (next !== undefined) this.add(thing, next);
      }
    }
  }
}
