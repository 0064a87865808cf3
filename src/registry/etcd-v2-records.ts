import { CompactedError } from '#src/registry/errors.ts';
import { assertFound, checkedNode, lostRace, refused } from '#src/registry/etcd-v2-answers.ts';
import { isNode, strangeNode, type V2Body, V2Failure, type V2Node } from '#src/registry/etcd-v2-body.ts';
import { getV2, ONE } from '#src/registry/etcd-v2-get.ts';
import type { EtcdV2Http, V2Answer } from '#src/registry/etcd-v2-http.ts';
import type { RecordPlace } from '#src/registry/record-place.ts';
import type {
  LeaseRecord,
  Records,
  Snapshot,
  WatchBatch,
  WatchEvent,
  WriteOutcome,
} from '#src/registry/records.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

const EVENT_INDEX_CLEARED = 401;

/** The parameters of a list, as flannel v0.9.1 sends them. */
const ALL = '?quorum=true&recursive=true&sorted=false';

export interface EtcdV2RecordsComponents {
  readonly http: EtcdV2Http;
  readonly clock: Clock;
}

export interface EtcdV2RecordsOptions {
  readonly place: RecordPlace;
  readonly description: string;
  /** A long poll that is silent for so long asks the server for a sign of life. Default 3,000. */
  readonly watchQuietMs?: number;
}

/** The records of a folder in etcd's v2 store. Every write is guarded by `prevExist` or `prevIndex`. */
export class EtcdV2Records implements Records {
  readonly api = 'v2';
  readonly description: string;
  readonly #http: EtcdV2Http;
  readonly #clock: Clock;
  readonly #quietMs: number;
  readonly #place: RecordPlace;
  /** Of the cluster that was listed last. */
  #clusterId = '';

  constructor(
    { http, clock }: EtcdV2RecordsComponents,
    { place, description, watchQuietMs = 3_000 }: EtcdV2RecordsOptions,
  ) {
    this.#http = http;
    this.#clock = clock;
    this.#quietMs = watchQuietMs;
    this.#place = place;
    this.description = description;
  }

  async list(signal: AbortSignal): Promise<Snapshot> {
    const what = `list ${this.#place.all}`;
    const request = { method: 'GET', key: this.#folderKey, query: ALL } as const;
    const answer = await this.#http.list(request, { what, repeatable: true }, signal, (node) =>
      this.#leavesOf(node),
    );
    assertFound(what, answer.body);
    this.#clusterId = answer.clusterId;
    return { records: answer.items, revision: answer.index };
  }

  async read(name: string, signal: AbortSignal): Promise<LeaseRecord | undefined> {
    const what = `read ${this.#place.one(name)}`;
    const { body } = await getV2(this.#http, this.#place.folder + name, ONE, what, signal);
    return body.node && this.#recordOf(checkedNode(what, body.node));
  }

  create(
    name: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    return this.#write(name, '?prevExist=false', value, ttlSeconds, signal);
  }

  replace(
    previous: LeaseRecord,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    return this.#write(previous.name, `?prevIndex=${previous.revision}`, value, ttlSeconds, signal);
  }

  /** v2 has no leases apart from the keys. */
  async renew(): Promise<boolean> {
    return false;
  }

  async remove(previous: LeaseRecord, signal: AbortSignal): Promise<boolean> {
    const what = `remove ${this.#place.one(previous.name)}`;
    const request = {
      method: 'DELETE',
      key: this.#place.folder + previous.name,
      query: `?prevIndex=${previous.revision}`,
    } as const;
    const { body } = await this.#http.call(request, { what, repeatable: false }, signal);
    return !lostRace(body, what);
  }

  async *watch(revision: bigint, signal: AbortSignal): AsyncGenerator<WatchBatch, void> {
    let delivered = revision;
    for (;;) {
      const query = `?wait=true&waitIndex=${delivered + 1n}&recursive=true`;
      const request = { method: 'GET', key: this.#folderKey, query } as const;
      const poll = await this.#http.poll(request, this.#watching, signal);
      try {
        await this.#assertSameHistory(poll, delivered, signal);
        assertNear(poll.index, delivered);
        yield { events: [], revision: delivered };
        const event = poll.event();
        let seen = poll.index;
        let body = await within(this.#clock, this.#quietMs, event);
        for (; body === QUIET; body = await within(this.#clock, this.#quietMs, event)) {
          // What the store knew a quiet time ago would have come by now, so the next poll may begin there. Otherwise the
          // history of 1,000 events, which all keys of the store share, would run away from a quiet folder.
          if (seen > delivered) delivered = seen;
          seen = await poll.probe(this.#place.probeKey);
          yield { events: [], revision: delivered };
        }
        if (body === undefined) continue;
        const change = this.#changeOf(body);
        delivered = change.index;
        yield { events: change.events, revision: delivered };
        // As far as is known there is nothing more: the event goes into the kernel before the next poll takes its time.
        if (poll.index <= delivered) await afterDelivery();
      } finally {
        poll.end();
      }
    }
  }

  async expiryOf({ name, expiry }: LeaseRecord, signal: AbortSignal): Promise<number | undefined> {
    if (expiry.kind === 'reservation') return undefined;
    const record = await this.read(name, signal);
    return record?.expiry.kind === 'expires' ? record.expiry.at : undefined;
  }

  /** Nothing: the connections may be those of other folders, too. */
  async close(): Promise<void> {}

  get #watching(): string {
    return `watch ${this.#place.all}`;
  }

  get #folderKey(): string {
    return this.#place.folder.slice(0, -1);
  }

  async #write(
    name: string,
    query: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const what = `write ${this.#place.one(name)}`;
    // A reservation is written without the field, not with an empty one, and so stays permanent.
    const form = ttlSeconds === undefined ? { value } : { value, ttl: String(Math.ceil(ttlSeconds)) };
    const request = { method: 'PUT', key: this.#place.folder + name, query, form } as const;
    const { body } = await this.#http.call(request, { what, repeatable: false }, signal);
    if (lostRace(body, what)) return { outcome: 'conflict' };
    const record = body.node && this.#recordOf(checkedNode(what, body.node));
    if (record === undefined) throw refused(what, body);
    return { outcome: 'written', record };
  }

  /**
   * An index that is behind what we have seen, or another cluster's, belongs to a store that began from nothing. A member that
   * only lags behind its cluster shows the same, so a quorum read decides.
   */
  async #assertSameHistory(
    seen: Omit<V2Answer, 'body'>,
    delivered: bigint,
    signal: AbortSignal,
  ): Promise<void> {
    const sameCluster = this.#clusterId === '' || seen.clusterId === this.#clusterId;
    if (sameCluster && seen.index >= delivered) return;
    const { index } = await getV2(this.#http, this.#place.probeKey, ONE, this.#watching, signal);
    if (sameCluster && index >= delivered) return;
    throw new CompactedError(
      `etcd has begun from nothing: its index is ${index}, the last one seen was ${delivered}`,
    );
  }

  #changeOf(body: V2Body): { events: readonly WatchEvent[]; index: bigint } {
    const { errorCode, action, node } = body;
    if (errorCode === EVENT_INDEX_CLEARED) {
      throw new CompactedError(
        'etcd no longer has the events since the last one seen (its history is 1,000 long)',
      );
    }
    if (node === undefined) throw refused(this.#watching, body);
    checkedNode(this.#watching, node);
    const removed = action === 'delete' || action === 'expire' || action === 'compareAndDelete';
    // The children that go with a folder have no events of their own.
    if (removed && node.dir) throw new CompactedError(`the folder ${node.key} was removed from etcd`);
    const record = this.#recordOf(node);
    const index = BigInt(node.modifiedIndex);
    if (removed) return { events: [{ type: 'removed', name: this.#nameOf(node) }], index };
    return { events: record === undefined ? [] : [{ type: 'put', record }], index };
  }

  /** A node's own record, or those of the folder that it is. Folders may be thousands deep. */
  *#leavesOf(root: unknown): Generator<LeaseRecord> {
    const nodes: unknown[] = [root];
    while (nodes.length > 0) {
      const node = nodes.pop();
      if (!isNode(node)) throw new V2Failure('protocol', strangeNode(node));
      const record = this.#recordOf(node);
      if (record !== undefined) yield record;
      for (const child of node.nodes?.toReversed() ?? []) nodes.push(child);
    }
  }

  /** `undefined` for a folder, and for a key that is not below our folder. */
  #recordOf(node: V2Node): LeaseRecord | undefined {
    if (node.dir || !node.key.startsWith(this.#place.folder)) return undefined;
    const { expiration, ttl = 0, value = '', modifiedIndex, createdIndex } = node;
    // By the time left, not by `expiration`: that is the server's clock, which may differ from ours.
    const at = this.#clock.now() + ttl * 1_000;
    const expiry: LeaseRecord['expiry'] =
      expiration === undefined ? { kind: 'reservation' } : { kind: 'expires', at };
    const revision = BigInt(modifiedIndex);
    const created = createdIndex === modifiedIndex ? revision : BigInt(createdIndex);
    return { name: this.#nameOf(node), value, revision, created, expiry };
  }

  #nameOf({ key }: V2Node): string {
    return ownCopy(key.slice(this.#place.folder.length));
  }
}

/** A string of its own: V8's slice would keep the whole key, for as long as there is the lease. */
function ownCopy(slice: string): string {
  // A subnet's name is shorter, and ASCII; somebody's nonsense may stay a slice.
  if (slice.length > LONGEST_NAME) return slice;
  const bytes = SCRATCH.write(slice);
  return bytes === slice.length ? SCRATCH.toString('latin1', 0, bytes) : slice;
}

const LONGEST_NAME = 64;
/** Room for as many characters, whatever they are. */
const SCRATCH = Buffer.alloc(3 * LONGEST_NAME);

/**
 * Events of the whole store that may have happened since the last one delivered. A long poll brings one event, and a list all of
 * them at once; and of the last 1,000 etcd forgets the oldest.
 */
const MOST_BEHIND = 500n;

function assertNear(index: bigint, delivered: bigint): void {
  const behind = index - delivered;
  if (behind <= MOST_BEHIND) return;
  throw new CompactedError(`etcd is ${behind} events ahead, which is more than half of its history`);
}

/** Who takes an event does so in the next turn of the event loop, and hands it to the kernel in the one after that. */
async function afterDelivery(): Promise<void> {
  await nextTurn();
  await nextTurn();
}

const QUIET = Symbol('quiet');

/** The promise's value, or QUIET when it takes longer than `ms`. */
async function within<T>(clock: Clock, ms: number, promise: Promise<T>): Promise<T | typeof QUIET> {
  const settled = new AbortController();
  // The rejection of an end that came first is nobody's.
  const quiet = untilBeat(clock, ms, settled.signal).then(
    (): typeof QUIET => QUIET,
    (): typeof QUIET => QUIET,
  );
  try {
    return await Promise.race([promise, quiet]);
  } finally {
    // Without a reason, abort makes an Error with its stack, and each event ends a wait.
    settled.abort('settled');
  }
}
