import type { LiveMessage } from '#src/ui/model/feed.ts';
import { LiveState, type Turn } from '#src/ui/model/live-state.ts';

/** A page that has heard nothing for so long is stale: the server says something every 2 s. */
const SILENCE_MS = 6_000;
const RETRY_MS = 1_000;

export interface LiveListener {
  /** Something is new. Called at most once a frame. */
  changed(turns: readonly Turn[]): void;
  /** `since`: when the server was last heard, while it is silent; `undefined` while it is not. */
  freshness(since: Date | undefined): void;
}

/** The connection to the page's server, which comes back by itself. */
export class Live {
  readonly state = new LiveState();
  readonly #listener: LiveListener;
  #source: EventSource | undefined;
  #heard = 0;
  #heardAt = new Date();
  #fresh = false;
  #turns: Turn[] = [];
  #frame = false;

  constructor(listener: LiveListener) {
    this.#listener = listener;
  }

  start(): void {
    this.#connect();
    setInterval(() => this.#watch(), 500);
  }

  /** An EventSource tries again by itself after a broken connection, but not after an answer that is no stream. */
  #connect(): void {
    this.#source?.close();
    this.#heard = performance.now();
    const source = new EventSource('/api/live');
    this.#source = source;
    source.addEventListener('message', ({ data }) => this.#take(JSON.parse(String(data)) as LiveMessage));
    source.addEventListener('error', () => this.#stale());
  }

  #take(message: LiveMessage): void {
    this.#heard = performance.now();
    this.#heardAt = new Date();
    this.#turns.push(...this.state.take(message));
    if (!this.#fresh) {
      this.#fresh = true;
      this.#listener.freshness(undefined);
    }
    if (message.kind !== 'beat') this.#announce();
  }

  #announce(): void {
    if (this.#frame) return;
    this.#frame = true;
    const show = (): void => {
      if (!this.#frame) return;
      this.#frame = false;
      const turns = this.#turns;
      this.#turns = [];
      this.#listener.changed(turns);
    };
    // A page in the background has no frames.
    if (document.hidden) setTimeout(show);
    else requestAnimationFrame(show);
  }

  #watch(): void {
    const silent = performance.now() - this.#heard;
    if (silent > SILENCE_MS) this.#stale();
    const isClosed = this.#source?.readyState === EventSource.CLOSED;
    if ((isClosed && silent > RETRY_MS) || silent > 2 * SILENCE_MS) this.#connect();
  }

  #stale(): void {
    if (!this.#fresh) return;
    this.#fresh = false;
    this.#listener.freshness(this.#heardAt);
  }
}
