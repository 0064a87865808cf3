import { CompareResult, CompareTarget, EventType } from '#src/etcd/names.ts';
import {
  type Compare,
  type Event,
  type KeyValue,
  KVService,
  RangeRequest,
  type RangeResponse,
  RequestOp,
  type TxnRequest,
  type TxnResponse,
} from '#src/etcd/rpc.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { EtcdLeases } from '#src/registry/etcd-v3-leases.ts';
import { type EtcdV3Options, patienceAmong, watchPatience } from '#src/registry/etcd-v3-options.ts';
import { isOutOfRange, isTooLong } from '#src/registry/etcd-v3-status.ts';
import { endOf, type WatchPatience, watchRanges } from '#src/registry/etcd-v3-watch.ts';
import { isLocal } from '#src/registry/failure.ts';
import type { RecordPlace } from '#src/registry/record-place.ts';
import type {
  LeaseRecord,
  Records,
  Snapshot,
  WatchBatch,
  WatchEvent,
  WriteOutcome,
} from '#src/registry/records.ts';

/** How often a list begins again because its revision was compacted away between two pages. */
const LIST_ATTEMPTS = 3;

type Condition = NonNullable<Compare['targetUnion']>;

export interface EtcdV3RecordsComponents {
  readonly connection: EtcdConnection;
}

export interface EtcdV3RecordsOptions extends Omit<EtcdV3Options, 'endpoints' | 'prefix' | 'tls' | 'auth'> {
  readonly place: RecordPlace;
  readonly description: string;
}

/** The records of a folder in etcd's v3 store. Every write is a transaction on what was read. */
export class EtcdV3Records implements Records {
  readonly api = 'v3';
  readonly description: string;
  readonly #connection: EtcdConnection;
  readonly #leases: EtcdLeases;
  readonly #place: RecordPlace;
  readonly #pageSize: number;
  /** What a watch here waits for, given how many records there are. */
  readonly patience: WatchPatience;
  /** Records that there are, as far as lists and watches have shown. */
  #count = 0;
  /** A record we saw in the store: what a store that was reset can't show at the same revision. */
  #witness: LeaseRecord | undefined;

  constructor(
    { connection }: EtcdV3RecordsComponents,
    { place, description, pageSize = 4_000, ...options }: EtcdV3RecordsOptions,
  ) {
    this.#connection = connection;
    this.#leases = new EtcdLeases({ connection });
    this.description = description;
    this.#place = place;
    this.#pageSize = pageSize;
    this.patience = patienceAmong(watchPatience(options), () => this.#count);
  }

  async list(signal: AbortSignal): Promise<Snapshot> {
    for (let attempt = 1; ; attempt++) {
      try {
        const snapshot = await this.#listOnce(signal);
        this.#witness = snapshot.records[0];
        this.#count = snapshot.records.length;
        return snapshot;
      } catch (error) {
        if (!isOutOfRange(error) || attempt === LIST_ATTEMPTS) throw error;
      }
    }
  }

  async read(name: string, signal: AbortSignal): Promise<LeaseRecord | undefined> {
    const request = RangeRequest.create({ key: this.#keyOf(name) });
    const { kvs } = await this.#range(request, `read ${this.#place.one(name)}`, signal);
    return kvs[0] && this.#recordOf(kvs[0]);
  }

  async create(
    name: string,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    return this.#write({ $case: 'version', version: 0n }, { name, value }, ttlSeconds, signal);
  }

  async replace(
    previous: LeaseRecord,
    value: string,
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const unchanged = { $case: 'modRevision', modRevision: previous.revision } as const;
    const { name, created } = previous;
    const outcome = await this.#write(unchanged, { name, value, created }, ttlSeconds, signal);
    if (outcome.outcome === 'written' && previous.expiry.kind === 'leased') {
      await this.#leases.dropUnused(previous.expiry.leaseId, signal);
    }
    return outcome;
  }

  async renew({ name, expiry }: LeaseRecord, ttlSeconds: number, signal: AbortSignal): Promise<boolean> {
    return (
      expiry.kind === 'leased' &&
      this.#leases.keepAlive(expiry.leaseId, ttlSeconds, `renew ${this.#place.one(name)}`, signal)
    );
  }

  async remove(previous: LeaseRecord, signal: AbortSignal): Promise<boolean> {
    const key = this.#keyOf(previous.name);
    const { succeeded } = await this.#transact(
      key,
      { $case: 'modRevision', modRevision: previous.revision },
      RequestOp.create({ request: { $case: 'requestDeleteRange', requestDeleteRange: { key } } }),
      `remove ${this.#place.one(previous.name)}`,
      signal,
    );
    if (succeeded && previous.expiry.kind === 'leased') {
      await this.#leases.dropUnused(previous.expiry.leaseId, signal);
    }
    return succeeded;
  }

  async *watch(revision: bigint, signal: AbortSignal): AsyncGenerator<WatchBatch, void> {
    await this.#assertSameHistory(revision, signal);
    const key = Buffer.from(this.#place.folder);
    const options = {
      patience: this.patience,
      what: `watch ${this.#place.all}`,
      ranges: [{ key, rangeEnd: endOf(key) }],
      startRevision: revision + 1n,
      probeKey: this.#probeKey,
    };
    let delivered = revision;
    for await (const progress of watchRanges(this.#connection, options, signal)) {
      const events = progress.events.flatMap((event) => this.#eventOf(event));
      for (const { type, kv } of progress.events) {
        if (type === EventType.DELETE) this.#count--;
        else if (kv?.version === 1n) this.#count++;
      }
      if (progress.revision !== undefined && progress.revision > delivered) delivered = progress.revision;
      this.#follow(events);
      yield { events, revision: delivered };
    }
  }

  async expiryOf({ name, expiry }: LeaseRecord, signal: AbortSignal): Promise<number | undefined> {
    if (expiry.kind === 'reservation') return undefined;
    if (expiry.kind === 'expires') return expiry.at;
    const seconds = await this.#leases.secondsLeft(expiry.leaseId, `read the time left of ${name}`, signal);
    return seconds === undefined ? undefined : this.#connection.clock.now() + seconds * 1_000;
  }

  /** Nothing: the connection may be that of other folders, too. */
  async close(): Promise<void> {}

  /** All pages at the revision of the first. A page that is too long for one message is asked for in halves. */
  async #listOnce(signal: AbortSignal): Promise<Snapshot> {
    const records: LeaseRecord[] = [];
    let key = Buffer.from(this.#place.folder);
    const rangeEnd = endOf(key);
    let revision = 0n;
    let limit = this.#pageSize;
    for (;;) {
      let page: RangeResponse;
      try {
        const request = RangeRequest.create({ key, rangeEnd, limit: BigInt(limit), revision });
        page = await this.#range(request, `list ${this.#place.all}`, signal);
      } catch (error) {
        if (!isTooLong(error) || limit === 1) throw error;
        limit = Math.ceil(limit / 2);
        continue;
      }
      if (revision === 0n) revision = page.header?.revision ?? 0n;
      for (const kv of page.kvs) records.push(this.#recordOf(kv));
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { records, revision };
      key = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** A lease of its own for every write, as flannel does; one that came to nothing is revoked, not left to age. */
  async #write(
    condition: Condition,
    { name, value, created }: Pick<LeaseRecord, 'name' | 'value'> & { readonly created?: bigint | undefined },
    ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const what = `write ${this.#place.one(name)}`;
    const leaseId = ttlSeconds === undefined ? 0n : await this.#leases.grant(ttlSeconds, what, signal);
    const key = this.#keyOf(name);
    const requestPut = { key, value: Buffer.from(value), lease: leaseId };
    const put = RequestOp.create({ request: { $case: 'requestPut', requestPut } });
    let answer: TxnResponse;
    try {
      answer = await this.#transact(key, condition, put, what, signal);
    } catch (error) {
      // Only where etcd said no: after any other failure the key may be there and hang on this lease.
      if (error instanceof RegistryError && !isLocal(error.reason))
        await this.#leases.revoke(leaseId, signal);
      throw error;
    }
    if (!answer.succeeded) {
      await this.#leases.revoke(leaseId, signal);
      return { outcome: 'conflict' };
    }
    const revision = answer.header?.revision ?? 0n;
    const expiry = expiryOfLease(leaseId);
    return { outcome: 'written', record: { name, value, revision, created: created ?? revision, expiry } };
  }

  #transact(
    key: Buffer,
    condition: Condition,
    operation: RequestOp,
    what: string,
    signal: AbortSignal,
  ): Promise<TxnResponse> {
    const target = condition.$case === 'version' ? CompareTarget.VERSION : CompareTarget.MOD;
    const request: TxnRequest = {
      compare: [
        { key, result: CompareResult.EQUAL, target, targetUnion: condition, rangeEnd: Buffer.alloc(0) },
      ],
      success: [operation],
      failure: [],
    };
    return this.#connection.call(KVService.txn, request, { what, repeatable: false }, signal);
  }

  /**
   * A store that was restored or began empty while we were cut off may count beyond our revision by now, and a watch
   * would go on as if nothing had happened. So the past is asked for: our witness has to be there, unchanged.
   */
  async #assertSameHistory(revision: bigint, signal: AbortSignal): Promise<void> {
    const witness = this.#witness;
    const key = witness === undefined ? this.#probeKey : this.#keyOf(witness.name);
    try {
      const request = RangeRequest.create({ key, revision });
      const { kvs } = await this.#range(request, `watch ${this.#place.all}`, signal);
      if (witness === undefined || witness.revision > revision) return;
      if (kvs[0]?.modRevision === witness.revision) return;
    } catch (error) {
      if (!isOutOfRange(error)) throw error;
    }
    throw new CompactedError(
      `etcd no longer has the history up to revision ${revision}: compacted, or begun from nothing`,
    );
  }

  #follow(events: readonly WatchEvent[]): void {
    for (const event of events) {
      if (event.type === 'put') this.#witness = event.record;
      else if (event.name === this.#witness?.name) this.#witness = undefined;
    }
  }

  #range(request: RangeRequest, what: string, signal: AbortSignal): Promise<RangeResponse> {
    return this.#connection.call(KVService.range, request, { what, repeatable: true }, signal);
  }

  get #probeKey(): Buffer {
    return Buffer.from(this.#place.probeKey);
  }

  #keyOf(name: string): Buffer {
    return Buffer.from(this.#place.folder + name);
  }

  #recordOf({ key, value, modRevision, createRevision, lease }: KeyValue): LeaseRecord {
    return {
      name: key.toString().slice(this.#place.folder.length),
      value: value.toString(),
      revision: modRevision,
      created: createRevision,
      expiry: expiryOfLease(lease),
    };
  }

  #eventOf({ type, kv }: Event): readonly WatchEvent[] {
    if (kv === undefined) return [];
    const record = this.#recordOf(kv);
    return [type === EventType.DELETE ? { type: 'removed', name: record.name } : { type: 'put', record }];
  }
}

/** Lease id 0 is a key without a lease: a reservation. flannel HEAD overlooks it (upstream issue 1329). */
const expiryOfLease = (leaseId: bigint): LeaseRecord['expiry'] =>
  leaseId === 0n ? { kind: 'reservation' } : { kind: 'leased', leaseId };
