import type { WatcherQuota } from '#src/store/watch-stream.ts';

/** A watcher costs about this much beside its keys, in bytes. */
const WATCHER_BYTES = 1024;

export interface WatcherQuotaOptions {
  /** Bytes of memory for watchers, of one connection and of all. */
  readonly perConnection: number;
  readonly total: number;
}

/** How much memory the watchers of each connection may take. etcd sets no bound here. */
export class WatcherQuotas {
  readonly #options: WatcherQuotaOptions;
  readonly #quotas = new WeakMap<object, WatcherQuota>();
  #used = 0;

  constructor(options: WatcherQuotaOptions) {
    this.#options = options;
  }

  /** The quota that all streams of one connection share. */
  of(connection: object): WatcherQuota {
    const quota = this.#quotas.get(connection) ?? this.#make();
    this.#quotas.set(connection, quota);
    return quota;
  }

  #make(): WatcherQuota {
    let used = 0;
    const { perConnection, total } = this.#options;
    return {
      take: (keyBytes) => {
        const cost = WATCHER_BYTES + 2 * keyBytes;
        if (used + cost > perConnection || this.#used + cost > total) return false;
        used += cost;
        this.#used += cost;
        return true;
      },
      release: (keyBytes) => {
        const cost = WATCHER_BYTES + 2 * keyBytes;
        used -= cost;
        this.#used -= cost;
      },
    };
  }
}
