import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import { type HostEvents, type NotedEvent, silentEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import { CompactedError } from '#src/registry/errors.ts';
import type { Records, Snapshot, WatchBatch, WatchEvent } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import type { Random } from '#src/sys/random.ts';

export interface LeaseWatcherComponents {
  readonly registry: Pick<Records, 'list' | 'watch' | 'description'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
  /** Takes what becomes of the registry. Default: nobody. */
  readonly events?: HostEvents;
}

export interface LeaseWatcherOptions {
  /** Events up to this revision are known already. Without it the first thing delivered is a snapshot. */
  readonly from?: bigint;
  /** All leases again: what is not in the list is gone. Called whenever events were lost. What it throws ends the run. */
  onSnapshot(snapshot: Snapshot): void;
  /** What changed since, in order; never empty. What it throws ends the run. */
  onBatch(batch: WatchBatch): void;
  /** The longest pause between two attempts, in milliseconds. Default 5,000. */
  readonly maxPauseMs?: number;
  /** What the records are, for the log. Default `leases`, and `the peers` that these stand for. */
  readonly words?: { readonly records: string; readonly known: string };
}

const LEASES = { records: 'leases', known: 'the peers' };

export type WatcherState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected' }
  | { readonly kind: 'retrying'; readonly reason: string };

const FIRST_PAUSE_MS = 200;
const LISTS_APART_MS = 1_000;
/** A watch that answered for so long was a success. A store that restarts now and then is found again after a short pause. */
const LASTED_MS = 1_000;

/**
 * Follows all leases, or all records of another folder, for as long as it runs, through outages, compactions and stores that begin from nothing: list, watch from
 * there, resume after what was delivered last, and list again only when events were lost. It never gives up and
 * never spins.
 */
export class LeaseWatcher {
  readonly #components: LeaseWatcherComponents;
  readonly #options: LeaseWatcherOptions;
  readonly #backoff: Backoff;
  /** When the present watch began to answer; `undefined` before that. */
  #connectedAt: number | undefined;
  #state: WatcherState = { kind: 'connecting' };
  #outageBegan: number | undefined;
  #certainAt: number | undefined;
  #reconnects = 0;
  #events = 0;
  /** When the list was last asked for, likewise. */
  #listedAt = Number.NEGATIVE_INFINITY;
  /** Delivered up to here; `undefined` when a list is needed. */
  #revision: bigint | undefined;
  #pending: WatchEvent[] = [];
  #delivery: Promise<void> | undefined;
  /** Ends the run: what a caller's function threw. */
  readonly #broken = new AbortController();

  constructor(components: LeaseWatcherComponents, options: LeaseWatcherOptions) {
    const { maxPauseMs = 5_000, from } = options;
    this.#components = components;
    this.#options = options;
    this.#revision = from;
    this.#backoff = new Backoff(components, { baseMs: FIRST_PAUSE_MS, capMs: maxPauseMs });
  }

  get #words(): { readonly records: string; readonly known: string } {
    return this.#options.words ?? LEASES;
  }

  get state(): WatcherState {
    return this.#state;
  }

  /** When the registry last showed that nothing is missing here, by the monotonic clock; `undefined` before the first time. */
  get certainAt(): number | undefined {
    return this.#certainAt;
  }

  /** Since the start: times that the registry was back after an outage, and events that it sent. */
  get counts(): { readonly reconnects: number; readonly events: number } {
    return { reconnects: this.#reconnects, events: this.#events };
  }

  /** Runs until the signal aborts, and rejects with its reason. To be called once. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock } = this.#components;
    const either = AbortSignal.any([signal, this.#broken.signal]);
    while (!either.aborted) {
      this.#connectedAt = undefined;
      try {
        this.#revision ??= await this.#list(either);
        await this.#follow(this.#revision, either);
      } catch (error) {
        if (either.aborted) break;
        this.#failed(error);
        // Lost events are no failure: the list is asked for at once, unless it has just been.
        if (error instanceof CompactedError && clock.monotonic() - this.#listedAt > LISTS_APART_MS) continue;
      }
      // A connection that ends as soon as it stands is a failure like another: only time is a success.
      if (clock.monotonic() - (this.#connectedAt ?? Infinity) > LASTED_MS) this.#backoff.reset();
      await clock.sleep(this.#backoff.next(), either).catch(() => {});
    }
    await this.#delivery;
    throw either.reason;
  }

  async #list(signal: AbortSignal): Promise<bigint> {
    this.#listedAt = this.#components.clock.monotonic();
    const snapshot = await this.#components.registry.list(signal);
    this.#certainAt = this.#components.clock.monotonic();
    this.#guarded(() => this.#options.onSnapshot(snapshot));
    return snapshot.revision;
  }

  async #follow(revision: bigint, signal: AbortSignal): Promise<void> {
    try {
      for await (const batch of this.#components.registry.watch(revision, signal)) {
        this.#certainAt = this.#components.clock.monotonic();
        this.#connectedAt ??= this.#certainAt;
        this.#connected();
        this.#revision = batch.revision;
        if (batch.events.length > 0) this.#collect(batch.events, signal);
      }
    } finally {
      if (!signal.aborted) this.#deliver();
    }
  }

  /** A burst arrives as many messages in one turn of the event loop; it is delivered as one batch at the turn's end. */
  #collect(events: readonly WatchEvent[], signal: AbortSignal): void {
    this.#events += events.length;
    for (const event of events) this.#pending.push(event);
    this.#delivery ??= nextTurn().then(() => {
      this.#delivery = undefined;
      if (!signal.aborted) this.#deliver();
    });
  }

  #deliver(): void {
    if (this.#pending.length === 0 || this.#revision === undefined) return;
    const [events, revision] = [this.#pending, this.#revision];
    this.#pending = [];
    this.#guarded(() => this.#options.onBatch({ events, revision }));
  }

  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#broken.abort(error);
    }
  }

  #connected(): void {
    if (this.#state.kind === 'connected') return;
    this.#state = { kind: 'connected' };
    this.#note('info', this.#outageBegan === undefined ? 'It answers' : 'It answers again');
    if (this.#outageBegan === undefined) return;
    const { clock, logger, registry } = this.#components;
    this.#reconnects++;
    const seconds = (clock.monotonic() - this.#outageBegan) / 1_000;
    this.#outageBegan = undefined;
    logger.info(`${registry.description} is back after ${seconds.toFixed(1)} s`, { seconds });
  }

  #failed(error: unknown): void {
    const { clock, logger, registry } = this.#components;
    const reason = messageOf(error);
    if (error instanceof CompactedError) {
      this.#revision = undefined;
      logger.info(`listing all ${this.#words.records} again: ${reason}`);
      this.#note('info', `All ${this.#words.records} are listed again, because changes were lost`);
      return;
    }
    this.#state = { kind: 'retrying', reason };
    if (this.#outageBegan !== undefined) {
      logger.verbose(1, `still no answer from ${registry.description}: ${reason}`);
      return;
    }
    this.#outageBegan = clock.monotonic();
    logger.warning(
      `lost ${registry.description}, going on with ${this.#words.known} known so far: ${reason}`,
    );
    this.#note('warning', `No answer, going on with ${this.#words.known} known so far: ${reason}`);
  }

  #note(severity: NotedEvent['severity'], text: string): void {
    const { events = silentEvents, registry } = this.#components;
    events.note({ type: 'registry', severity, subject: registry.description, text });
  }
}
