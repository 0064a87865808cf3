import type { KeyValue, ResponseHeader } from '#src/etcd/rpc.ts';
import { inRange, type KeyRange } from '#src/store/key-range.ts';
import type { Change } from '#src/store/key-table.ts';
import type { CommitListener } from '#src/store/revision-store.ts';
import { EventEncoder, encodeResponse, eventMessages } from '#src/store/watch-encoding.ts';

/** What watching needs of the store. */
export interface WatchedStore {
  readonly revision: bigint;
  readonly compacted: bigint;
  header(revision?: bigint): ResponseHeader;
  changes(range: KeyRange, first: bigint, end: bigint): Change[];
  previousOf(change: Change): KeyValue | undefined;
  subscribe(listener: CommitListener): () => void;
}

/** What a watcher wants to see. Watchers that want the same are served together. */
export interface Interest {
  readonly range: KeyRange;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
}

export interface Watcher {
  readonly interest: Interest;
  /** The watcher's id as bytes of a WatchResponse. */
  readonly idBytes: Buffer;
  readonly fragment: boolean;
  /** True while its reader takes messages slower than they come; such a watcher is left behind, not buffered for. */
  readonly congested: boolean;
  deliver(messages: readonly Buffer[]): void;
  /** It will not be told of `first` and later; it has to read history from there, and then join again. */
  leftBehind(first: bigint): void;
}

/** Windows of history are this many revisions, so that a long replay does not hold up others. */
const WINDOW = 1000n;

/**
 * Brings changes to watchers. A watcher is either live, and is handed every commit, or it reads history on its own,
 * window by window, until it has caught up and joins the live ones in the same turn of the event loop: that is
 * why nothing is missed and nothing comes twice. A slow reader costs a cursor, no memory, and holds up nobody.
 */
export class WatchHub {
  readonly #store: WatchedStore;
  readonly #groups = new Map<string, { readonly interest: Interest; readonly live: Set<Watcher> }>();
  /** Watchers of revisions that are still to come. */
  readonly #future = new Map<Watcher, bigint>();
  readonly #unsubscribe: () => void;

  constructor(store: WatchedStore) {
    this.#store = store;
    this.#unsubscribe = store.subscribe((changes, revision) => this.#publish(changes, revision));
  }

  get store(): WatchedStore {
    return this.#store;
  }

  /** Makes a watcher live that has seen everything up to the current revision, or wants nothing before `next`. */
  join(watcher: Watcher, next: bigint): void {
    if (next > this.#store.revision + 1n) {
      this.#future.set(watcher, next);
      return;
    }
    const name = nameOf(watcher.interest);
    const group = this.#groups.get(name) ?? { interest: watcher.interest, live: new Set() };
    group.live.add(watcher);
    this.#groups.set(name, group);
  }

  leave(watcher: Watcher): void {
    this.#future.delete(watcher);
    const name = nameOf(watcher.interest);
    const group = this.#groups.get(name);
    if (group?.live.delete(watcher) && group.live.size === 0) this.#groups.delete(name);
  }

  /** Hands the watcher the next window of history from `first` on. Returns the revision to go on with. */
  replay(watcher: Watcher, first: bigint): bigint {
    const current = this.#store.revision;
    const end = first + WINDOW <= current ? first + WINDOW : current + 1n;
    const changes = this.#store.changes(watcher.interest.range, first, end);
    this.#send(changes, watcher.interest, [watcher], end - 1n, this.#encoder());
    return end;
  }

  close(): void {
    this.#unsubscribe();
    this.#groups.clear();
    this.#future.clear();
  }

  #publish(changes: readonly Change[], revision: bigint): void {
    const encoder = this.#encoder();
    for (const { interest, live } of this.#groups.values()) {
      const seen = changes.filter(({ kv }) => inRange(interest.range, kv.key));
      if (seen.length === 0) continue;
      const ready: Watcher[] = [];
      for (const watcher of live) {
        if (watcher.congested) {
          this.leave(watcher);
          watcher.leftBehind(seen[0]?.kv.modRevision ?? revision);
        } else {
          ready.push(watcher);
        }
      }
      this.#send(seen, interest, ready, revision, encoder);
    }
    for (const [watcher, next] of this.#future) {
      if (next > revision) continue;
      this.#future.delete(watcher);
      watcher.leftBehind(next);
    }
  }

  #send(
    changes: readonly Change[],
    { prevKv, noPut, noDelete }: Interest,
    watchers: readonly Watcher[],
    revision: bigint,
    encoder: EventEncoder,
  ): void {
    const wanted = changes.filter(({ deleted }) => !(deleted ? noDelete : noPut));
    if (wanted.length === 0 || watchers.length === 0) return;
    const events = wanted.map((change) => encoder.encode(change, prevKv));
    const head = encodeResponse({ header: this.#store.header(revision) });
    for (const watcher of watchers) {
      watcher.deliver(eventMessages(head, watcher.idBytes, events, watcher.fragment));
    }
  }

  #encoder(): EventEncoder {
    return new EventEncoder((change) => this.#store.previousOf(change));
  }
}

function nameOf({ range, prevKv, noPut, noDelete }: Interest): string {
  return [range.from.toString('hex'), range.to?.toString('hex') ?? '', prevKv, noPut, noDelete].join('/');
}
