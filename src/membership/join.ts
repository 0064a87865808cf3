import type { HostEvents } from '#src/lib/host-events.ts';
import type { LoggerSource } from '#src/lib/log.ts';
import { type Acquired, type AcquireRequest, acquireLease } from '#src/membership/acquire-lease.ts';
import { LeaseKeeper, type LeaseKeeperOptions } from '#src/membership/lease-keeper.ts';
import type {
  HeldLease,
  Membership,
  MembershipCounts,
  PeerMessage,
  RegistryStatus,
} from '#src/membership/membership.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import type { Registry, Snapshot } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface JoinComponents {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly createLogger: LoggerSource;
  /** Default: nobody. */
  readonly events?: HostEvents;
}

export interface JoinRequest extends AcquireRequest, LeaseKeeperOptions {}

/**
 * Takes a lease in the registry: its own again, the one of the last run, or a free one. A registry that does not answer
 * is waited for. The signal is that of the wait: a membership that is there ends with the signal of `follow`.
 *
 * @throws {WeftError} `lease` when there is no subnet to be had, `public-ip` when another living node has the address
 */
export async function join(
  components: JoinComponents,
  request: JoinRequest,
  signal: AbortSignal,
): Promise<Membership> {
  const log = components.createLogger('lease');
  return new EtcdMembership(components, await acquireLease({ ...components, log }, request, signal), request);
}

/** A membership over a {@link Registry}: an acquired lease, its keeper, and a watcher of all leases. */
class EtcdMembership implements Membership {
  readonly #components: JoinComponents;
  readonly #keeper: LeaseKeeper;
  readonly #watcher: LeaseWatcher;
  /** All leases as they were before ours was written; handed over by `follow`. */
  #seen: Snapshot | undefined;
  #deliver: (message: PeerMessage) => void = () => {};

  constructor(components: JoinComponents, acquired: Acquired, request: JoinRequest) {
    const { createLogger } = components;
    this.#components = components;
    this.#seen = acquired.seen;
    this.#keeper = new LeaseKeeper(
      { ...components, log: createLogger('lease') },
      acquired,
      acquired.attributes,
      request,
    );
    // The keeper hears of our own lease at once, whatever is done with the peers.
    this.#watcher = new LeaseWatcher(
      { ...components, logger: createLogger('watch') },
      {
        from: acquired.seen.revision,
        maxPauseMs: longestPause(Math.max(acquired.seen.records.length, request.avoid.length)),
        onSnapshot: ({ records }) => {
          this.#keeper.onSnapshot(records);
          this.#deliver({ kind: 'snapshot', records });
        },
        onBatch: ({ events }) => {
          for (const event of events) this.#keeper.onEvent(event);
          this.#deliver({ kind: 'batch', events });
        },
      },
    );
  }

  get own(): HeldLease {
    return this.#keeper.held;
  }

  get attributes(): LeaseAttributes {
    return this.#keeper.attributes;
  }

  get trouble(): string | undefined {
    return this.#keeper.trouble;
  }

  get registry(): RegistryStatus {
    const { state, certainAt } = this.#watcher;
    return {
      description: this.#components.registry.description,
      state: state.kind,
      ...(state.kind === 'retrying' && { reason: state.reason }),
      ...(certainAt !== undefined && { certainAt }),
    };
  }

  get counts(): MembershipCounts {
    return { ...this.#keeper.counts, ...this.#watcher.counts };
  }

  get remainingMs(): number | undefined {
    return this.#keeper.remainingMs;
  }

  publish(attributes: LeaseAttributes): void {
    this.#keeper.publish(attributes);
  }

  reconnect(): void {
    this.#components.registry.reconnect();
  }

  async follow(deliver: (message: PeerMessage) => void, signal: AbortSignal): Promise<never> {
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    this.#deliver = deliver;
    const parts = [this.#keeper.keep(both), this.#watcher.run(both)];
    try {
      const seen = this.#seen;
      this.#seen = undefined;
      if (seen !== undefined) deliver({ kind: 'snapshot', records: seen.records });
      return await Promise.race(parts);
    } finally {
      ended.abort();
      await Promise.allSettled(parts);
    }
  }
}

const SHORTEST_MS = 1_000;
const LONGEST_MS = 5_000;

/**
 * The longest pause between two attempts to reach the registry. All hosts of a network together make about one attempt a
 * millisecond, so that a store that comes back is found within a second where there are few, and not overrun by many.
 */
export const longestPause = (hosts: number): number => Math.min(LONGEST_MS, Math.max(SHORTEST_MS, hosts));
