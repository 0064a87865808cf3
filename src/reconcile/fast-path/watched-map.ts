import type { MapEntry, MapLayout } from '#src/fast-path/map-layouts.ts';
import type { Bpf } from '#src/sys/bpf.ts';

/** What is in a map, and what has changed there since: the kernel reports no changes of maps. */
export class WatchedMap {
  readonly fd: number;
  readonly #layout: MapLayout;
  /** Value by key, both as text of one character for each byte. */
  readonly #known = new Map<string, string>();
  /** All as it was when it was last compared; `undefined` after changes of our own. */
  #last: { readonly keys: Uint8Array; readonly values: Uint8Array } | undefined;

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

  /** Reads the map; calls back with each entry that is not as it was, and with the keys that are gone. */
  compare(bpf: Bpf, changed: (entry: MapEntry) => void, gone: (entry: MapEntry) => void): void {
    const { count, keys, values } = bpf.entries(this.fd, this.#layout);
    if (this.#last !== undefined && isSame(this.#last.keys, keys) && isSame(this.#last.values, values))
      return;
    this.#last = { keys, values };
    const missing = new Map(this.#known);
    for (let index = 0; index < count; index++) {
      const entry = this.#entry(keys, values, index);
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
  list(bpf: Bpf): MapEntry[] {
    const { count, keys, values } = bpf.entries(this.fd, this.#layout);
    this.#last = { keys, values };
    this.#known.clear();
    return Array.from({ length: count }, (_, index) => {
      const entry = this.#entry(keys, values, index);
      this.#known.set(textOf(entry.key), textOf(entry.value));
      return entry;
    });
  }

  #entry(keys: Uint8Array, values: Uint8Array, index: number): MapEntry {
    const { keySize, valueSize } = this.#layout;
    return {
      key: keys.subarray(index * keySize, (index + 1) * keySize),
      value: values.subarray(index * valueSize, (index + 1) * valueSize),
    };
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
