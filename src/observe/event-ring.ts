import type { HostEvents, HostEventType, NotedEvent } from '#src/lib/host-events.ts';
import type { Events, HostEvent } from '#src/observe/api.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface EventRingOptions {
  /** Events that are remembered. Default 1,000: about 400 KiB. */
  readonly size?: number;
}

const SIZE = 1_000;
/** The same again within this time is a repetition, whatever happened in between. */
const REPEATS_WITHIN_MS = 60_000;
/** Of one type, so many different events are remembered in a second. Others would push out all that came before. */
const MOST_A_SECOND = 20;
/** Everything else of that second is one event. */
const MORE = { subject: 'more', text: 'More of the same kind happened within a second: the log has each' };

/** What a ring has of one event. Times of day are made when it is read: most events are never read. */
interface Kept extends NotedEvent {
  readonly network: string | undefined;
  readonly id: number;
  readonly at: number;
  readonly firstAt: number;
  readonly count: number;
}

/** How many different events of a type came in the second that is under way. */
interface Second {
  readonly began: number;
  used: number;
}

/**
 * The last events of a host. A repetition takes the place of the event before: it gets the next id and a greater count, so
 * that a follower that asks for what is newer gets it, too.
 */
export class EventRing implements HostEvents {
  readonly #clock: Clock;
  readonly #size: number;
  /** By id, oldest first. */
  readonly #kept = new Map<number, Kept>();
  /** The last of each text. */
  readonly #last = new Map<string, Kept>();
  readonly #seconds = new Map<HostEventType, Second>();
  readonly #listeners = new Set<() => void>();
  #id = 0;
  #forgotten = 0;

  constructor(clock: Clock, { size = SIZE }: EventRingOptions = {}) {
    this.#clock = clock;
    this.#size = size;
  }

  note(event: NotedEvent): void {
    this.#note(event, undefined);
  }

  /** Notes what happens in a network with a name. */
  of(network: string | undefined): HostEvents {
    return network === undefined ? this : { note: (event) => this.#note(event, network) };
  }

  /** The greatest id so far; 0 before the first event. */
  get lastId(): number {
    return this.#id;
  }

  /**
   * Those with a greater id, oldest first. An id that this process has not reached yet is one of an earlier run: then these
   * are all.
   */
  read(after = 0): Events {
    const from = after > this.#id ? 0 : after;
    const events: HostEvent[] = [];
    for (const kept of this.#kept.values()) if (kept.id > from) events.push(shown(kept));
    return { events, forgotten: this.#forgotten };
  }

  /** Calls back after each event, in the same turn. Returns how to stop. */
  follow(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #note(event: NotedEvent, network: string | undefined): void {
    const at = this.#clock.now();
    const before = this.#before(event, network, at);
    if (before === undefined && !this.#mayAdd(event.type, at)) this.#put({ ...event, ...MORE }, network, at);
    else this.#put(event, network, at, before);
    for (const listener of this.#listeners) listener();
  }

  #put(
    { type, severity, subject, text }: NotedEvent,
    network: string | undefined,
    at: number,
    before = this.#before({ type, subject, text }, network, at),
  ): void {
    if (before !== undefined) this.#kept.delete(before.id);
    const kept: Kept = {
      type,
      severity,
      subject,
      text,
      network,
      id: ++this.#id,
      at,
      firstAt: before?.firstAt ?? at,
      count: (before?.count ?? 0) + 1,
    };
    this.#kept.set(kept.id, kept);
    this.#last.set(keyOf(kept, network), kept);
    if (this.#kept.size > this.#size) this.#forgetOldest();
  }

  /** The event that this one repeats. */
  #before(
    event: Pick<NotedEvent, 'type' | 'subject' | 'text'>,
    network: string | undefined,
    at: number,
  ): Kept | undefined {
    const last = this.#last.get(keyOf(event, network));
    return last !== undefined && (last.id === this.#id || at - last.at <= REPEATS_WITHIN_MS)
      ? last
      : undefined;
  }

  #mayAdd(type: HostEventType, at: number): boolean {
    const second = this.#seconds.get(type);
    if (second === undefined || Math.abs(at - second.began) >= 1_000) {
      this.#seconds.set(type, { began: at, used: 1 });
      return true;
    }
    return ++second.used <= MOST_A_SECOND;
  }

  #forgetOldest(): void {
    for (const oldest of this.#kept.values()) {
      this.#kept.delete(oldest.id);
      const key = keyOf(oldest, oldest.network);
      if (this.#last.get(key) === oldest) this.#last.delete(key);
      this.#forgotten++;
      return;
    }
  }
}

const keyOf = (
  { type, subject, text }: Pick<NotedEvent, 'type' | 'subject' | 'text'>,
  network: string | undefined,
): string => `${type}\n${network ?? ''}\n${subject}\n${text}`;

const shown = ({ id, at, firstAt, network, type, severity, subject, text, count }: Kept): HostEvent => ({
  id,
  at: new Date(at).toISOString(),
  type,
  severity,
  ...(network !== undefined && { network }),
  subject,
  text,
  count,
  firstAt: new Date(firstAt).toISOString(),
});
