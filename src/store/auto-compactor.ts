import type { CompactionRequest } from '#src/etcd/rpc.ts';
import type { Clock } from '#src/sys/clock.ts';

/** A revision is noted this many times within the retention, so that is how closely it is kept to. */
const SAMPLES = 10;

export interface CompactedStore {
  readonly revision: bigint;
  readonly compacted: bigint;
  compact(request: CompactionRequest): Promise<unknown>;
}

/**
 * Compacts history older than the retention, as etcd's periodic compaction does. What revision was current when is
 * only known since the start, so a restarted store keeps what it found for one retention more.
 */
export class AutoCompactor {
  readonly #store: CompactedStore;
  readonly #clock: Clock;
  readonly #retentionMs: number;
  #samples: { readonly at: number; readonly revision: bigint }[] = [];

  constructor(store: CompactedStore, clock: Clock, retentionMs: number) {
    this.#store = store;
    this.#clock = clock;
    this.#retentionMs = retentionMs;
  }

  /** How often {@link tick} is to be called, milliseconds. */
  get intervalMs(): number {
    return Math.max(1000, this.#retentionMs / SAMPLES);
  }

  async tick(): Promise<void> {
    const now = this.#clock.monotonic();
    this.#samples.push({ at: now, revision: this.#store.revision });
    const old = this.#samples.findLast(({ at }) => at <= now - this.#retentionMs);
    if (old === undefined) return;
    this.#samples = this.#samples.filter(({ at }) => at >= old.at);
    if (old.revision > this.#store.compacted && old.revision > 1n) {
      await this.#store.compact({ revision: old.revision, physical: false });
    }
  }
}
