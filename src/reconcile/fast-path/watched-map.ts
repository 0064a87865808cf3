import type { MapEntry, MapLayout } from '#src/fast-path/map-layouts.ts';
import type { Bpf, BpfEntries } from '#src/sys/bpf.ts';
import type { TurnBudget } from '#src/sys/turn-budget.ts';

/** What is in a map, and what has changed there since: the kernel reports no changes of maps. */
export class WatchedMap {
  readonly fd: number;
  readonly #layout: MapLayout;
  /** Value by key, both as text of one character for each byte. */
  readonly #known = new Map<string, string>();
  /** All as it was when it was last compared; `undefined` after changes of our own. */
  #last: readonly BpfEntries[] | undefined;

  constructor(fd: number, layout: MapLayout) {
    this.fd = fd;
    this.#layout = layout;
  }

  /** Remembers what was written here. */
  note({ key, value }: MapEntry): void {
    this.#last = undefined;
    this.#known.set(textOf(key), textOf(value));
  }

  forget(key: Uint8Array): void {
    this.#last = undefined;
    this.#known.delete(textOf(key));
  }

  /** Reads the map; calls back with each entry that is not as it was, and with those that are gone. */
  async compare(
    bpf: Bpf,
    budget: TurnBudget,
    changed: (entry: MapEntry) => void,
    gone: (entry: MapEntry) => void,
  ): Promise<void> {
    const chunks: BpfEntries[] = [];
    let isSame = true;
    for (const chunk of bpf.chunks(this.fd, this.#layout)) {
      isSame &&= isEqual(chunk, this.#last?.[chunks.length]);
      chunks.push(chunk);
      await budget.turn();
    }
    if (isSame && chunks.length === this.#last?.length) return;
    this.#last = chunks;
    const missing = new Map(this.#known);
    for (const chunk of chunks)
      for (let index = 0; index < chunk.count; index++) {
        if (budget.isSpent) await budget.turn();
        const entry = this.#entry(chunk, index);
        const [key, value] = [textOf(entry.key), textOf(entry.value)];
        missing.delete(key);
        if (this.#known.get(key) === value) continue;
        this.#known.set(key, value);
        changed(entry);
      }
    for (const [key, value] of missing) {
      this.#known.delete(key);
      gone({ key: bytesOf(key), value: bytesOf(value) });
    }
  }

  /** Reads all entries, and takes them for known. */
  async list(bpf: Bpf, budget: TurnBudget, visit: (entry: MapEntry) => void): Promise<void> {
    const chunks: BpfEntries[] = [];
    this.#last = chunks;
    this.#known.clear();
    for (const chunk of bpf.chunks(this.fd, this.#layout)) {
      chunks.push(chunk);
      for (let index = 0; index < chunk.count; index++) {
        const entry = this.#entry(chunk, index);
        this.#known.set(textOf(entry.key), textOf(entry.value));
        visit(entry);
      }
      await budget.turn();
    }
  }

  #entry({ keys, values }: BpfEntries, index: number): MapEntry {
    const { keySize, valueSize } = this.#layout;
    return {
      key: keys.subarray(index * keySize, (index + 1) * keySize),
      value: values.subarray(index * valueSize, (index + 1) * valueSize),
    };
  }
}

const isEqual = (a: BpfEntries, b: BpfEntries | undefined): boolean =>
  b !== undefined &&
  a.count === b.count &&
  Buffer.compare(a.keys, b.keys) === 0 &&
  Buffer.compare(a.values, b.values) === 0;
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
