import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import type { LeaseRecord, WatchEvent } from '#src/registry/registry.ts';

/** The lease that this node holds: its subnets, and its record as we last wrote it or saw it. Never another node's record. */
export interface HeldLease {
  readonly subnets: Subnets;
  readonly record: LeaseRecord;
}

/** What the registry says of all leases, our own among them. */
export type PeerMessage =
  /** All leases. A lease that is not in the list is gone, or the store was emptied. */
  | { readonly kind: 'snapshot'; readonly records: readonly LeaseRecord[] }
  /** What changed since, in order. Never empty. */
  | { readonly kind: 'batch'; readonly events: readonly WatchEvent[] };

export interface RegistryStatus {
  /** The API and the endpoints, never a password. */
  readonly description: string;
  readonly state: 'connecting' | 'connected' | 'retrying';
  /** Why it is tried again. */
  readonly reason?: string;
  /** When the registry last showed that nothing is missing here, by the monotonic clock; absent before the first time. */
  readonly certainAt?: number;
}

/** What is counted since the start. */
export interface MembershipCounts {
  /** Writes of the own lease that the registry has taken. */
  readonly renewals: number;
  readonly failures: number;
  /** Times that the registry was back after an outage. */
  readonly reconnects: number;
  /** Events of leases that it has sent. */
  readonly events: number;
}

/**
 * This node as a member of one network: it holds a lease, keeps it, and hears of the others' leases. Nothing runs before
 * {@link follow} is called, and nothing after its promise has settled.
 */
export interface Membership {
  readonly own: HeldLease;
  /** What we publish: the lease's value. */
  readonly attributes: LeaseAttributes;
  /** Why the registry does not show that we hold the lease; `undefined` while it does. */
  readonly trouble: string | undefined;
  readonly registry: RegistryStatus;
  readonly counts: MembershipCounts;
  /** Milliseconds until the own lease ends, if it is not renewed; `undefined` for a reservation. */
  readonly remainingMs: number | undefined;

  /** Publishes other attributes (a new public IP) in place, soon. */
  publish(attributes: LeaseAttributes): void;

  /** The host has another address: what was connected from the old one gets no answers and is not used again. */
  reconnect(): void;

  /**
   * Keeps the lease, and hands over what the registry says of all leases, in order: first a snapshot, then batches, and
   * another snapshot whenever events were lost. `deliver` only takes the message: our own lease does not wait for what is
   * done with it. To be called once. Runs until the signal aborts, and rejects with its reason, or with what `deliver`
   * threw, once everything has ended.
   */
  follow(deliver: (message: PeerMessage) => void, signal: AbortSignal): Promise<never>;
}
