import { type KernelObject, keyOf } from '#src/kernel/object.ts';

/**
 * What should be in the kernel, by slot, and on whose behalf: `own` for what the node needs itself, a lease's
 * name for a peer. One lease's event costs one lease's work, not the network's.
 */
export class WantedState {
  readonly #slots = new Map<string, { readonly owner: string; readonly object: KernelObject }>();
  readonly #owned = new Map<string, readonly string[]>();

  /** Number of slots. */
  get size(): number {
    return this.#slots.size;
  }

  /** Names of those on whose behalf something is wanted. */
  owners(): IterableIterator<string> {
    return this.#owned.keys();
  }

  get(key: string): KernelObject | undefined {
    return this.#slots.get(key)?.object;
  }

  keys(): IterableIterator<string> {
    return this.#slots.keys();
  }

  *objects(): Generator<KernelObject> {
    for (const { object } of this.#slots.values()) yield object;
  }

  /**
   * Says all that is wanted on the owner's behalf; none withdraws it. Returns the keys to look at again. A slot that
   * passes from one owner to another (a VTEP MAC that moved with its host) stays with the one that asked last.
   */
  set(owner: string, objects: readonly KernelObject[]): readonly string[] {
    const keys = objects.map(keyOf);
    for (const [index, key] of keys.entries()) {
      const object = objects[index];
      if (object !== undefined) this.#slots.set(key, { owner, object });
    }
    const before = this.#owned.get(owner) ?? [];
    const left = before.filter((key) => !keys.includes(key) && this.#slots.get(key)?.owner === owner);
    for (const key of left) this.#slots.delete(key);
    if (keys.length > 0) this.#owned.set(owner, keys);
    else this.#owned.delete(owner);
    return left.length === 0 ? keys : [...keys, ...left];
  }
}
