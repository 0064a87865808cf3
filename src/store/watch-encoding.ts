import { EventType } from '#src/etcd/names.ts';
import { type KeyValue, WatchResponse } from '#src/etcd/rpc.ts';
import type { Change } from '#src/store/key-table.ts';

/** What a watcher that asked for fragments gets at most in one message: etcd's request limit and its overhead. */
const FRAGMENT_BYTES = (1536 + 512) * 1024;

const EMPTY = WatchResponse.decode(new Uint8Array());
const EMPTY_BYTES = Buffer.alloc(0);

/** A response of which only these fields are set, as bytes. */
export function encodeResponse(fields: Partial<WatchResponse>): Buffer {
  return Buffer.from(WatchResponse.encode({ ...EMPTY, ...fields }).finish());
}

/**
 * Changes as bytes of a WatchResponse, each encoded once however many watchers get it. In protobuf, messages laid
 * one behind the other are one message with the fields of all, so a response is a header, an id and events put together.
 */
export class EventEncoder {
  readonly #previousOf: (change: Change) => KeyValue | undefined;
  readonly #plain = new Map<Change, Buffer>();
  readonly #withPrevious = new Map<Change, Buffer>();

  /** One encoder serves the changes of one commit, or one window of history. */
  constructor(previousOf: (change: Change) => KeyValue | undefined) {
    this.#previousOf = previousOf;
  }

  encode(change: Change, prevKv: boolean): Buffer {
    const cache = prevKv ? this.#withPrevious : this.#plain;
    let bytes = cache.get(change);
    if (bytes === undefined) {
      bytes = encodeResponse({
        events: [
          {
            type: change.deleted ? EventType.DELETE : EventType.PUT,
            kv: change.kv,
            prevKv: prevKv && change.kv.version !== 1n ? this.#previousOf(change) : undefined,
          },
        ],
      });
      cache.set(change, bytes);
    }
    return bytes;
  }
}

/**
 * The events of one commit, or one window of history, for all watchers that want the same. What they share is put
 * together once, and each watcher's message refers to it.
 */
export class EventMessages {
  readonly #head: Buffer;
  readonly #events: readonly Buffer[];
  #body: Buffer | undefined;

  /** `head`: a header as bytes of a WatchResponse; `events` likewise, at least one. */
  constructor(head: Buffer, events: readonly Buffer[]) {
    this.#head = head;
    this.#events = events;
  }

  /** One message in pieces, or several when the watcher wants large ones in fragments. `watchId` as bytes, too. */
  *for(watchId: Buffer, fragment: boolean): Generator<readonly Buffer[]> {
    if (!fragment) {
      this.#body ??= this.#events.length === 1 ? this.#events[0] : Buffer.concat(this.#events);
      yield [this.#head, watchId, this.#body ?? EMPTY_BYTES];
      return;
    }
    const groups = fragments(this.#events, FRAGMENT_BYTES - this.#head.length - watchId.length);
    for (const [index, group] of groups.entries()) {
      const more = index < groups.length - 1 ? [MORE_FRAGMENTS] : [];
      yield [this.#head, watchId, ...more, ...group];
    }
  }
}

function fragments(events: readonly Buffer[], limit: number): Buffer[][] {
  const groups: Buffer[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const event of events) {
    const group = groups.at(-1);
    if (group === undefined || size + event.length >= limit) {
      groups.push([event]);
      size = event.length;
    } else {
      group.push(event);
      size += event.length;
    }
  }
  return groups;
}

const MORE_FRAGMENTS = encodeResponse({ fragment: true });
