import { CompareResult, CompareTarget } from '#src/etcd/names.ts';
import {
  type KeyValue,
  KVService,
  LeaseGrantRequest,
  LeaseService,
  LeaseTimeToLiveRequest,
  PutRequest,
  RangeRequest,
  type RequestOp,
  TxnRequest,
} from '#src/etcd/rpc.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { statusOf } from '#src/registry/etcd-v3-status.ts';
import type { Entry, TransferEnd } from '#src/store/transfer.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';

const PAGE_SIZE = 1000n;
/** A txn may have 128 operations and 1.5 MB. */
const TXN_OPS = 100;
const TXN_BYTES = 1 << 20;

/** The embedded store or a real etcd, through etcd's v3 API. */
export class EtcdV3End implements TransferEnd {
  readonly description: string;
  readonly #connection: EtcdConnection;

  constructor(options: Omit<EtcdOptions, 'prefix'>) {
    this.#connection = new EtcdConnection({ clock: systemClock, random: systemRandom }, options);
    this.description = String(this.#connection.ring);
  }

  async read(prefix: string, signal: AbortSignal): Promise<Entry[]> {
    const entries: Entry[] = [];
    const remaining = new Map<bigint, bigint>();
    for await (const kv of this.#keys(prefix, signal)) {
      if (kv.lease === 0n) {
        entries.push({ key: kv.key, value: kv.value });
        continue;
      }
      const left = remaining.get(kv.lease) ?? (await this.#timeToLive(kv.lease, signal));
      remaining.set(kv.lease, left);
      if (left > 0n) {
        entries.push({ key: kv.key, value: kv.value, lease: { id: kv.lease, remaining: left } });
      }
    }
    return entries;
  }

  check(): void {}

  async write(entries: readonly Entry[], overwrite: boolean, signal: AbortSignal): Promise<void> {
    const granted = new Map<bigint, bigint>();
    let ops: RequestOp[] = [];
    let size = 0;
    const flush = async (): Promise<void> => {
      if (ops.length > 0) await this.#put(ops, overwrite, signal);
      ops = [];
      size = 0;
    };
    for (const { key, value, lease } of entries) {
      if (ops.length === TXN_OPS || size + value.length > TXN_BYTES) await flush();
      const leaseId = lease === undefined ? 0n : await this.#lease(lease, granted, signal);
      const requestPut = PutRequest.create({ key, value, lease: leaseId });
      ops.push({ request: { $case: 'requestPut', requestPut } });
      size += key.length + value.length;
    }
    await flush();
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /** All pages are of the first one's revision. */
  async *#keys(prefix: string, signal: AbortSignal): AsyncGenerator<KeyValue> {
    const rangeEnd = endOfPrefix(prefix);
    let key = prefix === '' ? Buffer.of(0) : Buffer.from(prefix);
    let revision = 0n;
    for (;;) {
      const request = RangeRequest.create({ key, rangeEnd, limit: PAGE_SIZE, revision });
      const options = { what: `read the keys of ${this.description}`, repeatable: true };
      const page = await this.#connection.call(KVService.range, request, options, signal);
      yield* page.kvs;
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return;
      key = Buffer.concat([last.key, Buffer.of(0)]);
      revision = page.header?.revision ?? 0n;
    }
  }

  async #timeToLive(id: bigint, signal: AbortSignal): Promise<bigint> {
    const request = LeaseTimeToLiveRequest.create({ ID: id });
    const options = { what: `ask for the lease ${id.toString(16)}`, repeatable: true };
    return (await this.#connection.call(LeaseService.leaseTimeToLive, request, options, signal)).TTL;
  }

  /** The target's lease for a key. One that is there already is kept as it is: an export may be repeated. */
  async #lease(
    { id, remaining }: NonNullable<Entry['lease']>,
    granted: Map<bigint, bigint>,
    signal: AbortSignal,
  ): Promise<bigint> {
    const known = id === undefined ? undefined : granted.get(id);
    if (known !== undefined) return known;
    const request = LeaseGrantRequest.create({ ID: id ?? 0n, TTL: remaining });
    const options = { what: `grant a lease at ${this.description}`, repeatable: false };
    let lease: bigint;
    try {
      lease = (await this.#connection.call(LeaseService.leaseGrant, request, options, signal)).ID;
    } catch (error) {
      if (id === undefined || statusOf(error)?.details !== 'etcdserver: lease already exists') throw error;
      lease = id;
    }
    if (id !== undefined) granted.set(id, lease);
    return lease;
  }

  async #put(success: RequestOp[], overwrite: boolean, signal: AbortSignal): Promise<void> {
    const compare = overwrite
      ? []
      : success.flatMap(({ request }) =>
          request?.$case === 'requestPut' ? [absent(request.requestPut.key)] : [],
        );
    const request = TxnRequest.create({ compare, success });
    const options = { what: `write to ${this.description}`, repeatable: overwrite };
    const { succeeded } = await this.#connection.call(KVService.txn, request, options, signal);
    if (succeeded) return;
    throw new WeftError('store-target', `${this.description} was written to by somebody else meanwhile`, {
      remedy: 'look at its keys, and repeat with --overwrite if the rest is wanted',
    });
  }
}

function absent(key: Buffer): TxnRequest['compare'][number] {
  return {
    key,
    result: CompareResult.EQUAL,
    target: CompareTarget.VERSION,
    targetUnion: { $case: 'version', version: 0n },
    rangeEnd: Buffer.alloc(0),
  };
}

/** The first key after all that begin with the prefix; "\0", no bound, when there is none. */
function endOfPrefix(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  for (let last = end.length - 1; last >= 0; last--) {
    const byte = end[last] ?? 0xff;
    if (byte === 0xff) continue;
    end[last] = byte + 1;
    return end.subarray(0, last + 1);
  }
  return Buffer.of(0);
}
