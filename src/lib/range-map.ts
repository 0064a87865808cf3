/** Ranges of one chunk, in order. */
interface Chunk<K, V> {
  readonly firsts: K[];
  readonly lasts: K[];
  readonly values: V[];
}

/** Inserting moves at most this many ranges. */
const LONGEST_CHUNK = 64;

/**
 * Values by ranges of numbers (or bigints) that never overlap. It finds the range that overlaps another without looking at
 * all of them. It is a sorted list in chunks of 24 bytes a range: a search takes logarithmic time, and an addition moves
 * at most one chunk.
 */
export class RangeMap<K extends number | bigint, V> {
  readonly #chunks: Chunk<K, V>[] = [];
  /** Where each chunk begins. */
  readonly #starts: K[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The value of the lowest range that shares a number with `first` … `last`, both included. */
  overlapping(first: K, last: K): V | undefined {
    const index = this.#chunkOf(first);
    const chunk = this.#chunks[index];
    return this.#inTheWay(first, last, index, chunk === undefined ? -1 : lastAtMost(chunk.firsts, first));
  }

  /** Adds a range. When it overlaps others, adds nothing and returns the value of the lowest of them. */
  add(first: K, last: K, value: V): V | undefined {
    const index = this.#chunkOf(first);
    const chunk = this.#chunks[Math.max(0, index)] ?? this.#firstChunk();
    const at = lastAtMost(chunk.firsts, first);
    const other = this.#inTheWay(first, last, index, at);
    if (other !== undefined) return other;
    insert(chunk.firsts, at + 1, first);
    insert(chunk.lasts, at + 1, last);
    insert(chunk.values, at + 1, value);
    this.#size++;
    if (at < 0) this.#starts[0] = first;
    if (chunk.firsts.length > LONGEST_CHUNK) this.#split(chunk, Math.max(0, index));
    return undefined;
  }

  /** Removes the range that begins at `first`, if there is one. */
  delete(first: K): void {
    const index = this.#chunkOf(first);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return;
    const at = lastAtMost(chunk.firsts, first);
    if (chunk.firsts[at] !== first) return;
    chunk.firsts.splice(at, 1);
    chunk.lasts.splice(at, 1);
    chunk.values.splice(at, 1);
    this.#size--;
    const [start] = chunk.firsts;
    if (start !== undefined) {
      this.#starts[index] = start;
    } else {
      this.#chunks.splice(index, 1);
      this.#starts.splice(index, 1);
    }
  }

  /** Looks at the range at this place, which begins at or before `first`, and at the next one. */
  #inTheWay(first: K, last: K, index: number, at: number): V | undefined {
    const chunk = this.#chunks[index];
    if (chunk !== undefined && at >= 0 && (chunk.lasts[at] as K) >= first) return chunk.values[at];
    const isLast = chunk === undefined || at + 1 >= chunk.firsts.length;
    const next = isLast ? this.#chunks[index + 1] : chunk;
    const after = isLast ? 0 : at + 1;
    return next !== undefined && (next.firsts[after] as K) <= last ? next.values[after] : undefined;
  }

  #firstChunk(): Chunk<K, V> {
    const chunk: Chunk<K, V> = { firsts: [], lasts: [], values: [] };
    this.#chunks.push(chunk);
    return chunk;
  }

  /** The index of the last chunk that begins at or before this number; -1 when none does. */
  #chunkOf(first: K): number {
    return lastAtMost(this.#starts, first);
  }

  #split(chunk: Chunk<K, V>, index: number): void {
    const half = secondHalf(chunk);
    this.#chunks.splice(index + 1, 0, half);
    this.#starts.splice(index + 1, 0, half.firsts[0] as K);
  }
}

/** The index of the last number that is at most this one; -1 when there is none. */
function lastAtMost<K extends number | bigint>(sorted: readonly K[], number: K): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as K) <= number) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Equals `splice`, which takes twice the time because it returns an array of removed items. */
function insert<T>(items: T[], at: number, item: T): void {
  items.push(item);
  for (let n = items.length - 1; n > at; n--) items[n] = items[n - 1] as T;
  items[at] = item;
}

function secondHalf<K, V>({ firsts, lasts, values }: Chunk<K, V>): Chunk<K, V> {
  const half = firsts.length >> 1;
  return { firsts: firsts.splice(half), lasts: lasts.splice(half), values: values.splice(half) };
}
