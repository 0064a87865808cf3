import type { Backend } from '#src/backend/backend.ts';
import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Departures } from '#src/membership/departures.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import type { LeaseChange, LeaseTable } from '#src/network/lease-table.ts';
import { LeaseNews } from '#src/node/lease-news.ts';
import type { Peers } from '#src/node/peers.ts';
import type { TrustGate } from '#src/node/trust-gate.ts';
import type { WatchEvent } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface PeerInboxComponents {
  readonly table: LeaseTable;
  readonly peers: Pick<Peers, 'apply' | 'planAll' | 'planSome' | 'use'>;
  readonly departures: Departures;
  /** Says which records may be used; absent where all may. */
  readonly gate?: Pick<TrustGate, 'list' | 'put' | 'removed' | 'again'> | undefined;
  /** Called with the changes once the peers have been planned. */
  readonly onChanges?: (changes: readonly LeaseChange[]) => void;
  /** Runs thousands of changes in bulk; see {@link Owner.inBulk}. */
  readonly inBulk: (say: () => Promise<void>) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: nobody. */
  readonly events?: HostEvents;
}

/** Peers that come at once. */
const MANY_PEERS = 1_000;

/**
 * The one writer of the peers. Every cause of a change is a message, and messages are handled in order: a list of all
 * leases, events, a departure that is due, another backend or other rules, and another way to the peers.
 *
 * Each method resolves when its message has been handled.
 */
export class PeerInbox {
  readonly #components: PeerInboxComponents;
  readonly #order = new InOrder();
  readonly #news: LeaseNews;
  /** When {@link run} looks for departures next. It is woken for an earlier one only. */
  #wakesAt = Number.NEGATIVE_INFINITY;
  #rearm: (() => void) | undefined;

  constructor(components: PeerInboxComponents) {
    this.#components = components;
    this.#news = new LeaseNews(components.events ?? silentEvents);
  }

  /**
   * All leases there are. A peer that was known and is not among them stays for a while: a store that was emptied fills
   * again as the living nodes write, and packets go on until then. `remembered` are the peers of an earlier run, of which
   * the table knows nothing yet.
   */
  snapshot(records: readonly RawLease[], remembered: readonly RawLease[] = []): Promise<void> {
    return this.#handle(() => this.#takeSnapshot(records, remembered));
  }

  /** Events in order. A peer whose lease was removed stays for a moment: a living one claims it again. */
  change(events: readonly WatchEvent[]): Promise<void> {
    return this.#handle(() => this.#takeEvents(events));
  }

  /** Other rules by which leases are judged, and another backend: everything is judged and planned again. */
  use(rules: LeaseRules, backend: Backend): Promise<void> {
    return this.#handle(async () => {
      const { table, peers } = this.#components;
      await this.#followEach(table.useRules(rules));
      // Records that could not be used by the rules before.
      await this.#judgeAgain();
      await peers.use(backend);
    });
  }

  /** Other keys may hold subnets: all records are judged again. */
  judgeAgain(): Promise<void> {
    return this.#handle(() => this.#judgeAgain());
  }

  /** The kernel may lead to the peers another way now. */
  reroute(): Promise<void> {
    return this.#handle(() => this.#components.peers.planAll());
  }

  /** What some peers need has changed, and their leases have not. */
  replan(names: readonly string[]): Promise<void> {
    return this.#handle(() => this.#components.peers.planSome(names));
  }

  /** Lets go of peers when their time has come, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { departures, clock } = this.#components;
    while (!signal.aborted) {
      await this.#untilDue(signal);
      if (this.#nextDue > clock.monotonic()) continue;
      await this.#handle(async () => {
        const { table } = this.#components;
        await this.#follow(departures.due(clock.monotonic()).flatMap((name) => table.remove(name)));
      });
    }
    await this.#order.idle();
  }

  #handle(step: () => Promise<void>): Promise<void> {
    return this.#order.run(step).finally(() => {
      this.#news.note();
      // To end a sleep and begin another for each message would cost more than the message.
      if (this.#nextDue < this.#wakesAt) this.#rearm?.();
    });
  }

  get #nextDue(): number {
    return this.#components.departures.nextDue ?? Number.POSITIVE_INFINITY;
  }

  async #untilDue(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const rearmed = new AbortController();
    this.#rearm = () => rearmed.abort('rearmed');
    const now = clock.monotonic();
    const wait = Math.min(Math.max(0, this.#nextDue - now), LONGEST_WAIT_MS);
    this.#wakesAt = now + wait;
    await clock.sleep(wait, AbortSignal.any([signal, rearmed.signal])).catch(() => {});
    this.#rearm = undefined;
  }

  async #judgeAgain(): Promise<void> {
    const { gate } = this.#components;
    if (gate !== undefined) await this.#put(await gate.again());
  }

  /** Puts each record as the gate says, in slices. */
  async #put(records: readonly RawLease[]): Promise<void> {
    const { table } = this.#components;
    await this.#followEach(slicesOf(records, (slice) => slice.flatMap((raw) => table.put(raw))));
  }

  async #takeSnapshot(listed: readonly RawLease[], remembered: readonly RawLease[]): Promise<void> {
    const { table, departures, clock, inBulk, gate } = this.#components;
    const records = gate === undefined ? listed : await gate.list(listed);
    const known = [...table.records(), ...remembered];
    const missing = known.length === 0 ? [] : without(known, records);
    departures.missing(
      missing.map(({ name }) => name),
      clock.monotonic(),
    );
    const take = async (): Promise<void> => {
      const staying = missing.filter(({ name }) => table.has(name));
      await this.#followEach(
        table.replaceAll(staying.length === 0 ? records : [...records, ...staying]),
        records.length,
      );
      // Last, so that a lease which another node holds today is not refused for one of yesterday.
      const late = missing.filter(({ name }) => !table.has(name));
      if (late.length > 0) await this.#put(gate === undefined ? late : await gate.put(late));
    };
    const many = records.length - table.accepted > MANY_PEERS;
    await (many ? inBulk(take) : take());
  }

  async #takeEvents(events: readonly WatchEvent[]): Promise<void> {
    const { table, departures, clock, gate } = this.#components;
    // The last event of each name counts: a lease that was removed and claimed again in one burst is there.
    const last = new Map(
      events.map((event) => [event.type === 'put' ? event.record.name : event.name, event]),
    );
    const records: RawLease[] = [];
    const removed: string[] = [];
    for (const [name, event] of last) {
      if (event.type === 'removed') {
        removed.push(name);
      } else {
        departures.cancel(name);
        records.push(event.record);
      }
    }
    departures.removed(removed, clock.monotonic());
    gate?.removed(removed);
    const judged = gate === undefined ? records : await gate.put(records);
    await this.#follow(judged.flatMap((record) => table.put(record)));
  }

  async #followEach(slices: Iterable<LeaseChange[]>, expected?: number): Promise<void> {
    const budget = new TurnBudget(this.#components.clock);
    for (const changes of slices) {
      await this.#follow(changes, expected);
      await budget.turn();
    }
  }

  async #follow(changes: readonly LeaseChange[], expected?: number): Promise<void> {
    const { log, peers, onChanges } = this.#components;
    this.#news.take(changes);
    for (const change of changes) {
      if (change.kind === 'quarantined') {
        log.warning(`Ignoring the lease ${change.name.slice(0, 100)}: ${change.reason}`, {
          lease: change.name,
        });
      } else {
        log.verbose(1, `Lease ${change.name} ${change.kind}`);
      }
    }
    await peers.apply(changes, expected);
    onChanges?.(changes);
  }
}

function* slicesOf<T>(records: readonly RawLease[], take: (slice: readonly RawLease[]) => T): Generator<T> {
  for (let at = 0; at < records.length; at += SLICE) yield take(records.slice(at, at + SLICE));
}

const SLICE = 250;

/** Those whose names are not among the others'. */
function without(records: readonly RawLease[], others: readonly RawLease[]): RawLease[] {
  const names = new Set(others.map(({ name }) => name));
  return records.filter(({ name }) => !names.has(name));
}

/** A timer counts up to 2³¹ − 1 ms. */
const LONGEST_WAIT_MS = 86_400_000;
