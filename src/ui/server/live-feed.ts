import type { Clock } from '#src/sys/clock.ts';
import type { UnixHttpClient } from '#src/sys/unix-http.ts';
import type { LiveMessage, SourceState } from '#src/ui/model/feed.ts';
import { changeOf, keepEqual } from '#src/ui/model/live-state.ts';
import type { Series } from '#src/ui/model/series.ts';
import { askSource } from '#src/ui/server/ask-source.ts';
import { pointOf, SeriesRing } from '#src/ui/server/series-ring.ts';
import type { UiPlace, UiSource } from '#src/ui/server/ui-source.ts';

export interface LiveFeedComponents {
  readonly clock: Clock;
  readonly http: UnixHttpClient;
  readonly place: UiPlace;
}

/** Milliseconds between two rounds while a page is open. */
const WATCHED_MS = 1_000;
/** Milliseconds between two points of the last hour, and between two rounds while no page is open. */
const POINT_MS = 5_000;
const POINTS = 3_600_000 / POINT_MS;
/** A round is followed by a pause of at least so many times its length: the hosts are not to feel that they are watched. */
const REST = 3;
/** A page that hears nothing for longer than some of these says that it is stale. */
const BEAT_MS = 2_000;
/** So many sources are asked at a time. */
const AT_ONCE = 8;

/** Asks all sources again and again; keeps what they said, its last hour, and sends what changes to the open pages. */
export class LiveFeed {
  readonly #components: LiveFeedComponents;
  readonly #states = new Map<string, SourceState>();
  readonly #rings = new Map<string, SeriesRing>();
  readonly #repairs = new Map<string, number | undefined>();
  readonly #listeners = new Set<(message: LiveMessage) => void>();
  #sources: readonly UiSource[] = [];
  #wake = new AbortController();
  #pointAt = Number.NEGATIVE_INFINITY;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(components: LiveFeedComponents) {
    this.#components = components;
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    while (!signal.aborted) {
      const began = clock.monotonic();
      await this.#round(signal);
      if (signal.aborted) return;
      const took = clock.monotonic() - began;
      const pause = Math.max(REST * took, (this.#listeners.size > 0 ? WATCHED_MS : POINT_MS) - took);
      await clock.sleep(pause, AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
      this.#wake = new AbortController();
    }
  }

  source(id: string): UiSource | undefined {
    return this.#sources.find((source) => source.id === id);
  }

  /** The last hour of a source, after a time in milliseconds since the epoch; `undefined` for one that is not known. */
  series(id: string, after: number): Series | undefined {
    return this.#rings.get(id)?.after(after);
  }

  /** Sends everything now, and then each change, until the returned function is called. */
  follow(listener: (message: LiveMessage) => void): () => void {
    const { place } = this.#components;
    listener({ kind: 'all', at: this.#now(), title: place.title, sources: [...this.#states.values()] });
    this.#listeners.add(listener);
    // The page is not to wait for the end of the longer pause.
    if (this.#listeners.size === 1) this.#wake.abort();
    return () => void this.#listeners.delete(listener);
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { place, clock } = this.#components;
    // A daemon that ends takes its socket away: a source that has answered once stays, and is shown as stale.
    const found = await place.sources().catch(() => []);
    const ids = new Set(found.map(({ id }) => id));
    const kept = this.#sources.filter(({ id }) => !ids.has(id) && this.#states.get(id)?.own !== undefined);
    this.#sources = [...found, ...kept];
    const known = new Set(this.#sources.map(({ id }) => id));
    const gone = [...this.#states.keys()].filter((id) => !known.has(id));
    for (const id of gone) for (const map of [this.#states, this.#rings, this.#repairs]) map.delete(id);
    const before = new Map(this.#states);
    const left = [...this.#sources];
    const askOneByOne = async (): Promise<void> => {
      for (let source = left.shift(); source !== undefined; source = left.shift()) {
        await this.#ask(source, signal);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, askOneByOne));
    if (signal.aborted) return;
    const sources = [...this.#states.values()].flatMap(
      (state) => changeOf(before.get(state.id), state) ?? [],
    );
    const at = this.#now();
    if (sources.length + gone.length > 0) this.#say({ kind: 'change', at, sources, gone });
    else if (clock.monotonic() - this.#saidAt >= BEAT_MS) this.#say({ kind: 'beat', at });
    if (clock.monotonic() - this.#pointAt >= POINT_MS) this.#addPoints();
  }

  async #ask(source: UiSource, signal: AbortSignal): Promise<void> {
    const { socket: _, ...name } = source;
    const before = this.#states.get(source.id);
    const answer = await askSource(this.#components.http, source, signal).catch(() => undefined);
    if (answer === undefined) return;
    const answers = answer.kind === 'answer';
    const since = before?.answers === answers ? before.since : this.#now();
    const head = { ...name, answers, since };
    if (answer.kind === 'none') {
      const last = before?.own === undefined ? {} : { own: before.own };
      this.#states.set(source.id, { ...head, ...last, why: answer.why, links: before?.links ?? [] });
    } else {
      const links = keepEqual(before?.links ?? [], answer.links);
      this.#states.set(source.id, { ...head, own: answer.own, links });
    }
  }

  #addPoints(): void {
    const { clock } = this.#components;
    this.#pointAt = clock.monotonic();
    for (const state of this.#states.values()) {
      const ring =
        this.#rings.get(state.id) ?? new SeriesRing({ capacity: POINTS, everySeconds: POINT_MS / 1000 });
      ring.add(clock.now(), pointOf(state, this.#repairs.get(state.id)));
      this.#rings.set(state.id, ring);
      this.#repairs.set(state.id, state.own?.repairs);
    }
  }

  #say(message: LiveMessage): void {
    this.#saidAt = this.#components.clock.monotonic();
    for (const listener of this.#listeners) listener(message);
  }

  #now(): string {
    return new Date(this.#components.clock.now()).toISOString();
  }
}
