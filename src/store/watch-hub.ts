import type { KeyValue, ResponseHeader } from '#src/etcd/rpc.ts';
import { inRange, type KeyRange } from '#src/store/key-range.ts';
import type { Change, ChangeWindow } from '#src/store/key-table.ts';
import type { CommitListener } from '#src/store/revision-store.ts';
import { EventEncoder, EventMessages, encodeResponse } from '#src/store/watch-encoding.ts';

/** What watching needs of the store. */
export interface WatchedStore {
  readonly revision: bigint;
  readonly compacted: bigint;
  header(revision?: bigint): ResponseHeader;
  changes(range: KeyRange, first: bigint, end: bigint, maxBytes: number): ChangeWindow;
  previousOf(change: Change): KeyValue | undefined;
  subscribe(listener: CommitListener): () => void;
}

/** What a watcher wants to see. Watchers that want the same are served together. */
export interface Interest {
  readonly range: KeyRange;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  /** The key in latin1, when the range is one key. */
  readonly singleKey: string | undefined;
  /** The same for interests that are the same: from {@link interestName}. */
  readonly name: string;
}

export interface Watcher {
  readonly interest: Interest;
  /** True while its reader takes messages slower than they come; such a watcher is left behind, not buffered for. */
  readonly congested: boolean;
  deliver(messages: EventMessages): void;
  /** It will not be sent `first` and later; it has to read history from there, and then join again. */
  leftBehind(first: bigint): void;
}

/** The live watchers of one interest. */
interface Group {
  readonly interest: Interest;
  readonly live: Set<Watcher>;
}

/** A piece of history: what one interest has to see of the revisions before `next`. */
export interface HistoryWindow {
  /** Absent: nothing. */
  readonly messages: EventMessages | undefined;
  /** The revision to go on with. */
  readonly next: bigint;
}

/** A window of history is so many revisions or bytes at most, so that a long replay neither holds up others nor takes memory. */
const WINDOW = { revisions: 1000n, bytes: 1 << 20 };

export function interestName({
  range,
  prevKv,
  noPut,
  noDelete,
}: Omit<Interest, 'name' | 'singleKey'>): string {
  const { from, to } = range;
  const flags = `${prevKv ? 1 : 0}${noPut ? 1 : 0}${noDelete ? 1 : 0}`;
  return `${flags}${from.length}/${from.toString('latin1')}${to?.toString('latin1') ?? '/'}`;
}

/**
 * Brings changes to watchers. A watcher is either live, and is handed every commit, or it reads history on its own,
 * window by window, until it has caught up and joins the live ones in the same turn of the event loop: that is
 * why nothing is missed and nothing comes twice. A slow reader costs a cursor, no memory, and holds up nobody.
 */
export class WatchHub {
  readonly #store: WatchedStore;
  readonly #groups = new Map<string, Group>();
  /** Groups that want one key, by that key: most watchers of most clients. The others are asked about each change. */
  readonly #ofKey = new Map<string, Set<Group>>();
  readonly #ofRange = new Set<Group>();
  /** Watchers of revisions that are still to come. */
  readonly #future = new Map<Watcher, bigint>();
  readonly #unsubscribe: () => void;
  /** The window read last: watchers that were left behind together ask for it one after the other. */
  #last: { readonly name: string; readonly first: bigint; readonly window: HistoryWindow } | undefined;

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
    const { name } = watcher.interest;
    const group = this.#groups.get(name) ?? this.#addGroup(watcher.interest);
    group.live.add(watcher);
  }

  leave(watcher: Watcher): void {
    this.#future.delete(watcher);
    const { name } = watcher.interest;
    const group = this.#groups.get(name);
    if (group?.live.delete(watcher) && group.live.size === 0) this.#removeGroup(group);
  }

  #addGroup(interest: Interest): Group {
    const group = { interest, live: new Set<Watcher>() };
    this.#groups.set(interest.name, group);
    if (interest.singleKey === undefined) {
      this.#ofRange.add(group);
    } else {
      const others = this.#ofKey.get(interest.singleKey) ?? new Set();
      this.#ofKey.set(interest.singleKey, others.add(group));
    }
    return group;
  }

  #removeGroup(group: Group): void {
    const { name, singleKey = '' } = group.interest;
    this.#groups.delete(name);
    this.#ofRange.delete(group);
    const others = this.#ofKey.get(singleKey);
    if (others?.delete(group) && others.size === 0) this.#ofKey.delete(singleKey);
  }

  /** The groups that see any of the changes, with what they see of them. */
  #concerned(changes: readonly Change[]): Map<Group, Change[]> {
    const concerned = new Map<Group, Change[]>();
    for (const change of changes) {
      for (const group of this.#ofKey.get(change.kv.key.toString('latin1')) ?? []) {
        const seen = concerned.get(group);
        if (seen === undefined) concerned.set(group, [change]);
        else seen.push(change);
      }
    }
    for (const group of this.#ofRange) {
      const seen = changes.filter(({ kv }) => inRange(group.interest.range, kv.key));
      if (seen.length > 0) concerned.set(group, seen);
    }
    return concerned;
  }

  /** The window of history that begins at revision `first`. */
  window(interest: Interest, first: bigint): HistoryWindow {
    const last = this.#last;
    if (last?.name === interest.name && last.first === first) return last.window;
    const current = this.#store.revision;
    const end = first + WINDOW.revisions <= current ? first + WINDOW.revisions : current + 1n;
    const { changes, next } = this.#store.changes(interest.range, first, end, WINDOW.bytes);
    const messages = this.#messages(changes, interest, next - 1n, this.#encoder());
    const window = { messages, next };
    this.#last = { name: interest.name, first, window };
    return window;
  }

  close(): void {
    this.#unsubscribe();
    this.#groups.clear();
    this.#ofKey.clear();
    this.#ofRange.clear();
    this.#future.clear();
    this.#last = undefined;
  }

  #publish(changes: readonly Change[], revision: bigint): void {
    const encoder = this.#encoder();
    for (const [{ interest, live }, seen] of this.#concerned(changes)) {
      const [first] = seen;
      if (first === undefined) continue;
      let messages: EventMessages | undefined;
      let readable = true;
      try {
        messages = this.#messages(seen, interest, revision, encoder);
      } catch {
        // The watchers find out for themselves: each call fails alone when it reads this again.
        readable = false;
      }
      if (readable && messages === undefined) continue;
      for (const watcher of [...live]) {
        // Asked for each: what the one before was sent may have filled the stream that they share.
        if (messages === undefined || watcher.congested) {
          this.leave(watcher);
          watcher.leftBehind(first.kv.modRevision);
        } else {
          watcher.deliver(messages);
        }
      }
    }
    for (const [watcher, next] of this.#future) {
      if (next > revision) continue;
      this.#future.delete(watcher);
      watcher.leftBehind(next);
    }
  }

  #messages(
    changes: readonly Change[],
    { prevKv, noPut, noDelete }: Interest,
    revision: bigint,
    encoder: EventEncoder,
  ): EventMessages | undefined {
    const wanted = changes.filter(({ deleted }) => !(deleted ? noDelete : noPut));
    if (wanted.length === 0) return undefined;
    const events = wanted.map((change) => encoder.encode(change, prevKv));
    return new EventMessages(encodeResponse({ header: this.#store.header(revision) }), events);
  }

  #encoder(): EventEncoder {
    return new EventEncoder((change) => this.#store.previousOf(change));
  }
}
