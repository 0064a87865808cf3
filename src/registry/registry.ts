import type { Records } from '#src/registry/records.ts';

export type {
  LeaseRecord,
  Snapshot,
  WatchBatch,
  WatchEvent,
  WriteOutcome,
} from '#src/registry/records.ts';

/**
 * Where leases live: the records below `<prefix>/subnets/`, and the network config beside them, over etcd v2, etcd v3 or
 * memory. `network/` reads and judges the records.
 */
export interface Registry extends Records {
  /** The operator's network config, `<prefix>/config`; `undefined` while there is none. */
  readConfig(signal: AbortSignal): Promise<string | undefined>;

  /**
   * The network config as {@link readConfig} gives it: now, and again whenever it may be another. Ends by throwing: the
   * signal's reason or {@link RegistryError}.
   */
  watchConfig(signal: AbortSignal): AsyncIterable<string | undefined>;

  /** The leases of a network without IPv4, `<prefix>/ipv6-subnets/`: see registry/ipv6-leases.ts. */
  readonly ipv6Leases: Records;

  /** Replaces the network config if it still says `previous`. False when it had changed or was gone. */
  replaceConfig(previous: string, text: string, signal: AbortSignal): Promise<boolean>;

  /** The host has another address: what was connected from the old one gets no answers and is not used again. */
  reconnect(): void;
}
