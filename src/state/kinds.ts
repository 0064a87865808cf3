import type { Kind, StateObject } from '#src/state/kind.ts';

/** Kinds by name. */
export class Kinds<T extends StateObject> {
  readonly #byName: ReadonlyMap<string, Kind<T>>;
  /** By rank. */
  readonly all: readonly Kind<T>[];

  constructor(kinds: Iterable<Kind<T>>) {
    this.all = [...kinds].sort((a, b) => a.rank - b.rank);
    this.#byName = new Map(this.all.map((kind) => [kind.name, kind]));
  }

  get names(): readonly T['kind'][] {
    return this.all.map(({ name }) => name);
  }

  /** Throws a TypeError for an object of no kind here. */
  of(object: StateObject): Kind<T> {
    const kind = this.#byName.get(object.kind);
    if (kind === undefined) throw new TypeError(`there is no kind of kernel state "${object.kind}"`);
    return kind;
  }
}
