import type { Lifetime } from '#src/lib/lifetime.ts';
import type { Membership, PeerMessage } from '#src/membership/membership.ts';
import type { Remembered } from '#src/membership/remembered.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { DataPath } from '#src/node/data-path.ts';
import { recordsOf } from '#src/node/start-network.ts';
import { Histogram, type HistogramSnapshot } from '#src/observe/histogram.ts';
import type { WatchEvent } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

const PUT_TO_ROUTE_SECONDS = [0.005, 0.025, 0.1, 0.5, 2.5, 10];

export interface LeaseFeedComponents {
  readonly membership: Pick<Membership, 'own' | 'follow'>;
  readonly dataPath: Pick<DataPath, 'inbox' | 'owner'>;
  readonly clock: Clock;
}

export interface LeaseFeedOptions {
  /** Milliseconds. */
  readonly leaseTtl: number;
  /** Of an earlier run, while its peers are not in the table. */
  readonly remembered: Remembered | undefined;
}

/** Passes what the registry says of leases to the peers, and keeps what it says of our own. */
export class LeaseFeed {
  readonly #components: LeaseFeedComponents;
  readonly #leaseTtl: number;
  /** Until the first list has come. */
  #remembered: Remembered | undefined;
  #isListed = false;
  #lostAt: number | undefined;
  readonly #putToRoute = new Histogram(PUT_TO_ROUTE_SECONDS);

  constructor(components: LeaseFeedComponents, { leaseTtl, remembered }: LeaseFeedOptions) {
    this.#components = components;
    this.#leaseTtl = leaseTtl;
    this.#remembered = remembered;
  }

  /** When the registry last showed that it has lost our lease, by the monotonic clock; `undefined` when it never did. */
  get lostAt(): number | undefined {
    return this.#lostAt;
  }

  /** Seconds from a batch of events to the objects that it asks for. */
  get putToRoute(): HistogramSnapshot {
    return this.#putToRoute.snapshot;
  }

  /** Begins to follow. Resolves when the peers of the first list are planned, and rejects when `life` ends before. */
  begin(life: Lifetime): Promise<void> {
    const first = Promise.withResolvers<void>();
    const { membership } = this.#components;
    life.run((signal) => membership.follow((message) => this.#take(message, first, life), signal));
    life.signal.addEventListener('abort', () => first.reject(life.signal.reason), { once: true });
    return first.promise;
  }

  /** Messages of the registry, in order. Our own lease does not wait for what is done with them. */
  #take(message: PeerMessage, first: PromiseWithResolvers<void>, life: Lifetime): void {
    const { dataPath, clock } = this.#components;
    // The first list is older than our lease.
    if (this.#isListed && this.#lacksOurLease(message)) this.#lostAt = clock.monotonic();
    this.#isListed = true;
    if (message.kind === 'batch') {
      this.#change(message.events).catch((error) => life.fail(error));
      return;
    }
    const remembered = this.#missedBy(message.records);
    this.#remembered = undefined;
    dataPath.inbox.snapshot(message.records, remembered).then(first.resolve, (error) => life.fail(error));
  }

  async #change(events: readonly WatchEvent[]): Promise<void> {
    const { dataPath, clock } = this.#components;
    const came = clock.monotonic();
    await dataPath.inbox.change(events);
    // Not waited for by the messages that follow.
    void dataPath.owner.settled().then(() => this.#putToRoute.observe((clock.monotonic() - came) / 1000));
  }

  #lacksOurLease(message: PeerMessage): boolean {
    const own = this.#components.membership.own.record.name;
    if (message.kind === 'snapshot') return !message.records.some(({ name }) => name === own);
    return message.events.some((event) => event.type === 'removed' && event.name === own);
  }

  /**
   * The peers of an earlier run that a store has lost. A store that lacks our own lease as well was emptied: its peers live,
   * and write their leases again. One that has ours says who left.
   */
  #missedBy(records: readonly RawLease[]): readonly RawLease[] {
    const remembered = this.#remembered;
    if (remembered === undefined || records.some(({ name }) => name === remembered.own.name)) return [];
    const age = this.#components.clock.now() - remembered.at;
    const mayLive = age >= 0 && age < this.#leaseTtl;
    return mayLive ? recordsOf(remembered) : [];
  }
}
