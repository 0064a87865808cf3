import { WatchFilter } from '#src/etcd/names.ts';
import type { WatchCreateRequest, WatchRequest, WatchResponse } from '#src/etcd/rpc.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import { keyRange } from '#src/store/key-range.ts';
import { encodeResponse } from '#src/store/watch-encoding.ts';
import { type Interest, interestName, type Watcher, type WatchHub } from '#src/store/watch-hub.ts';

/** The id of responses that concern no watcher or all. */
const NO_WATCHER = -1n;

/** The way to a watch's reader. */
export interface WatchOutput {
  /** True while its reader takes messages slower than they come. */
  readonly congested: boolean;
  /** Sends one message, given in pieces. */
  send(pieces: readonly Buffer[]): void;
  /** Runs the task when the reader has caught up. */
  whenClear(task: () => void): void;
  /** Runs the task after others had their turn. */
  later(task: () => void): void;
}

/** Bounds how many watchers there are, and how much their keys take. */
export interface WatcherQuota {
  /** False: there is no room for a watcher whose keys have so many bytes. */
  take(keyBytes: number): boolean;
  release(keyBytes: number): void;
}

interface StreamWatcher extends Watcher {
  readonly id: bigint;
  readonly keyBytes: number;
  readonly progressNotify: boolean;
  /** Nothing was sent since the last progress tick. */
  quiet: boolean;
}

/** One Watch call: the watchers a client made on it, and how fast it reads. */
export class WatchStream {
  readonly #hub: WatchHub;
  readonly #output: WatchOutput;
  readonly #quota: WatcherQuota;
  readonly #watchers = new Map<bigint, StreamWatcher>();
  /** Watchers that read history, each with the revision it is to read next. */
  readonly #behind = new Map<StreamWatcher, bigint>();
  #nextId = 0n;
  #pumping = false;
  #progressAsked = false;
  #closed = false;

  constructor(hub: WatchHub, output: WatchOutput, quota: WatcherQuota) {
    this.#hub = hub;
    this.#quota = quota;
    this.#output = output;
  }

  handle({ requestUnion }: WatchRequest): void {
    if (this.#closed) return;
    if (requestUnion?.$case === 'createRequest') this.#create(requestUnion.createRequest);
    else if (requestUnion?.$case === 'cancelRequest') this.#cancel(requestUnion.cancelRequest.watchId);
    else if (requestUnion?.$case === 'progressRequest') {
      this.#progressAsked = true;
      this.#answerProgress();
    }
  }

  /** Sends the revision to the watchers that asked for it and saw nothing since the last tick. */
  progressTick(): void {
    // One that does not read has no use for it.
    if (this.#output.congested) return;
    for (const watcher of this.#watchers.values()) {
      if (watcher.progressNotify && watcher.quiet && !this.#behind.has(watcher)) {
        this.#respond({ watchId: watcher.id });
      }
      watcher.quiet = true;
    }
  }

  close(): void {
    this.#closed = true;
    for (const watcher of this.#watchers.values()) {
      this.#hub.leave(watcher);
      this.#quota.release(watcher.keyBytes);
    }
    this.#watchers.clear();
    this.#behind.clear();
  }

  #create(request: WatchCreateRequest): void {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) {
      this.#respond({ watchId: NO_WATCHER, created: true, canceled: true, cancelReason: refusal });
      return;
    }
    const watcher = this.#watcher(request, request.watchId === 0n ? this.#freeId() : request.watchId);
    this.#watchers.set(watcher.id, watcher);
    this.#respond({ watchId: watcher.id, created: true });
    const { revision } = this.#hub.store;
    const first = request.startRevision === 0n ? revision + 1n : request.startRevision;
    if (first > revision) this.#hub.join(watcher, first);
    else watcher.leftBehind(first);
  }

  /** The texts are etcd's (mvcc/watcher.go). */
  #refusal({ watchId, key, rangeEnd }: WatchCreateRequest): string | undefined {
    const unbounded = rangeEnd.length === 1 && rangeEnd[0] === 0;
    if (rangeEnd.length > 0 && !unbounded && Buffer.compare(key, rangeEnd) >= 0) {
      return 'mvcc: watcher range is empty';
    }
    if (watchId !== 0n && this.#watchers.has(watchId)) {
      return 'mvcc: duplicate watch ID provided on the WatchStream';
    }
    if (!this.#quota.take(key.length + rangeEnd.length)) return etcdError('tooManyRequests').message;
    return undefined;
  }

  #watcher(request: WatchCreateRequest, id: bigint): StreamWatcher {
    const output = this.#output;
    const idBytes = encodeResponse({ watchId: id });
    const watcher: StreamWatcher = {
      id,
      keyBytes: request.key.length + request.rangeEnd.length,
      interest: interestOf(request),
      progressNotify: request.progressNotify,
      quiet: false,
      get congested() {
        return output.congested;
      },
      deliver: (messages) => {
        watcher.quiet = false;
        for (const pieces of messages.for(idBytes, request.fragment)) output.send(pieces);
      },
      leftBehind: (first) => {
        this.#behind.set(watcher, first);
        this.#pump();
      },
    };
    return watcher;
  }

  #cancel(id: bigint, fields: Partial<WatchResponse> = {}): void {
    const watcher = this.#watchers.get(id);
    if (watcher === undefined) return;
    this.#watchers.delete(id);
    this.#behind.delete(watcher);
    this.#hub.leave(watcher);
    this.#quota.release(watcher.keyBytes);
    this.#respond({ watchId: id, canceled: true, ...fields });
  }

  /** Reads history for those behind, a window at a time and each in its turn, for as long as the reader keeps up. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    this.#output.whenClear(() =>
      this.#output.later(() => {
        this.#pumping = false;
        const [next] = this.#behind;
        if (next === undefined || this.#closed) return;
        if (!this.#output.congested) this.#catchUp(...next);
        if (this.#behind.size > 0) this.#pump();
        else this.#answerProgress();
      }),
    );
  }

  #catchUp(watcher: StreamWatcher, first: bigint): void {
    const { store } = this.#hub;
    if (first < store.compacted) {
      // etcd names no revision here: the watcher has seen nothing up to it.
      this.#cancel(watcher.id, { header: store.header(0n), compactRevision: store.compacted });
      return;
    }
    const { messages, next } = this.#hub.window(watcher.interest, first);
    // Watchers that were left behind together share the window, for as long as the reader takes it.
    for (const [other, at] of this.#behind) {
      if (at !== first || other.interest.name !== watcher.interest.name) continue;
      if (this.#output.congested) return;
      this.#behind.delete(other);
      if (messages !== undefined) other.deliver(messages);
      if (next > store.revision) this.#hub.join(other, next);
      else this.#behind.set(other, next);
    }
  }

  /** A progress answer promises that all watchers have seen everything up to its revision, so it waits for those behind. */
  #answerProgress(): void {
    if (!this.#progressAsked || this.#behind.size > 0) return;
    this.#progressAsked = false;
    this.#respond({ watchId: NO_WATCHER });
  }

  #respond(fields: Partial<WatchResponse>): void {
    this.#output.send([encodeResponse({ header: this.#hub.store.header(), ...fields })]);
  }

  #freeId(): bigint {
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }
}

function interestOf({ key, rangeEnd, prevKv, filters }: WatchCreateRequest): Interest {
  const wanted = {
    range: keyRange(key.length === 0 ? Buffer.of(0) : key, rangeEnd),
    prevKv,
    noPut: filters.includes(WatchFilter.NOPUT),
    noDelete: filters.includes(WatchFilter.NODELETE),
  };
  const singleKey = rangeEnd.length === 0 ? wanted.range.from.toString('latin1') : undefined;
  return { ...wanted, singleKey, name: interestName(wanted) };
}
