import { setTimeout as delay } from 'node:timers/promises';
import { CompareResult, CompareTarget } from '#src/etcd/names.ts';
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from '#src/etcd/rpc.ts';
import { Backoff } from '#src/lib/backoff.ts';
import { longestPause } from '#src/membership/join.ts';
import { endOf, type WatchPatience } from '#src/registry/etcd-v3-watch.ts';
import { PREFIX, peerLease } from '../leases.ts';
import type { ConnectionPool } from './connection-pool.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { PlayedWatch, RANGE, type Tally, type WatchPlan } from './played-watch.ts';
import type { Wheel } from './wheel.ts';

const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const KEEP_ALIVE = '/etcdserverpb.Lease/LeaseKeepAlive';
const TXN = '/etcdserverpb.KV/Txn';
const FIRST_PAUSE_MS = 200;
/** As the daemon asks for the list (src/registry/etcd-v3-records.ts). */
const PAGE = 4_000n;
const ATTEMPTS = 20;

const FOLDER = Buffer.from(`${PREFIX}/subnets/`);
const CONFIG = Buffer.from(`${PREFIX}/config`);
const range = (fields: Partial<RangeRequest>): Uint8Array =>
  RangeRequest.encode(RangeRequest.create(fields)).finish();
const LEASES: WatchPlan = {
  key: FOLDER,
  rangeEnd: endOf(FOLDER),
  probe: range({ key: CONFIG, countOnly: true }),
  ofLeases: true,
};
const CONFIG_WATCH: WatchPlan = { ...LEASES, key: CONFIG, rangeEnd: Buffer.alloc(0), ofLeases: false };

class TakenError extends Error {}

export interface PlayedHostParts {
  readonly pool: ConnectionPool;
  readonly wheel: Wheel;
  readonly tally: Tally;
  /** How many hosts there are, on which its pauses depend. */
  readonly hosts: number;
  /** When its watches ask whether they live. */
  readonly patience: WatchPatience;
}

/** What one flanneld is to etcd: a lease, two watches, questions whether these live, and renewals. */
export class PlayedHost {
  readonly n: number;
  readonly #parts: PlayedHostParts;
  readonly #leases: PlayedWatch;
  readonly #config: PlayedWatch;
  readonly #backoff: Backoff;
  #member: number;
  #leaseId = 0n;
  #isStopped = true;
  #opening = false;

  constructor(n: number, parts: PlayedHostParts) {
    this.n = n;
    this.#parts = parts;
    this.#member = Math.floor(Math.random() * parts.pool.size);
    const ended = (): void => void this.#reopen();
    this.#leases = new PlayedWatch(LEASES, { ...parts, ended });
    this.#config = new PlayedWatch(CONFIG_WATCH, { ...parts, ended });
    this.#backoff = new Backoff(
      { random: Math.random },
      { baseMs: FIRST_PAUSE_MS, capMs: longestPause(parts.hosts) },
    );
  }

  get isWatching(): boolean {
    return this.#leases.isOpen && this.#config.isOpen;
  }

  /** Takes its lease, as for a record that is not there, and tries it again while etcd fails. Its revision. */
  async take(ttlSeconds: number, valueBytes = 0): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#takeOnce(ttlSeconds, valueBytes, attempt > 1);
      } catch (error) {
        if (error instanceof TakenError || attempt === ATTEMPTS) throw error;
        await delay(this.#backoff.next());
      }
    }
  }

  /** `again`: an earlier attempt may have written it, so that it may be there. */
  async #takeOnce(ttlSeconds: number, valueBytes: number, again: boolean): Promise<number> {
    const [name, value] = peerLease(this.n);
    const connection = await this.#connection();
    const grant = LeaseGrantRequest.create({ TTL: BigInt(ttlSeconds) });
    this.#leaseId = LeaseGrantResponse.decode(
      await connection.ask(GRANT, LeaseGrantRequest.encode(grant).finish()),
    ).ID;
    const key = Buffer.from(`${FOLDER}${name}`);
    const requestPut = {
      key,
      value: Buffer.from(padded(value, valueBytes)),
      lease: this.#leaseId,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    };
    const request = TxnRequest.create({
      compare: [
        {
          key,
          result: CompareResult.EQUAL,
          target: CompareTarget.VERSION,
          targetUnion: { $case: 'version', version: 0n },
          rangeEnd: Buffer.alloc(0),
        },
      ],
      success: [{ request: { $case: 'requestPut', requestPut } }],
    });
    const answer = TxnResponse.decode(await connection.ask(TXN, TxnRequest.encode(request).finish()));
    if (!answer.succeeded && !again) throw new TakenError(`the lease of host ${this.n} is there already`);
    return Number(answer.header?.revision ?? 0n);
  }

  /** All that a start asks for before it writes: the config and the list of all leases. How many there are. */
  async list(): Promise<number> {
    const connection = await this.#connection();
    await connection.ask(RANGE, range({ key: CONFIG }));
    let found = 0;
    let revision = 0n;
    for (let key: Buffer = FOLDER; ; ) {
      const answer = await connection.ask(
        RANGE,
        range({ key, rangeEnd: LEASES.rangeEnd, limit: PAGE, revision }),
      );
      const page = RangeResponse.decode(answer);
      revision ||= page.header?.revision ?? 0n;
      found += page.kvs.length;
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return found;
      key = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  /** Watches from behind `revision` on, until it is stopped. Resolves when both watches have been asked for. */
  async watch(revision: number): Promise<void> {
    this.#isStopped = false;
    this.#leases.revision = revision;
    this.#config.revision = revision;
    await this.#open();
  }

  /** Begins the lease's time again, and looks whether the record is still there. */
  async renew(): Promise<void> {
    const connection = await this.#connection();
    const { promise, resolve } = Promise.withResolvers<void>();
    const stream = connection.open(KEEP_ALIVE, { onMessage: () => resolve(), onEnd: resolve });
    const request = LeaseKeepAliveRequest.create({ ID: this.#leaseId });
    connection.send(stream, LeaseKeepAliveRequest.encode(request).finish());
    await promise;
    connection.cancel(stream);
    await connection.ask(RANGE, range({ key: Buffer.from(`${FOLDER}${peerLease(this.n)[0]}`) }));
  }

  /** It is gone from one moment to the next. */
  async die(): Promise<void> {
    this.#isStopped = true;
    this.#leases.stop();
    this.#config.stop();
    await this.#parts.pool.drop(this.n, this.#member);
  }

  async #reopen(): Promise<void> {
    if (this.#isStopped || this.#opening) return;
    this.#opening = true;
    await this.#moveOn();
    await this.#open();
  }

  /** To the next member, after the pause that a flanneld makes. */
  async #moveOn(): Promise<void> {
    this.#leases.stop();
    this.#config.stop();
    this.#member = (this.#member + 1) % this.#parts.pool.size;
    await delay(this.#backoff.next());
  }

  async #open(): Promise<void> {
    this.#opening = true;
    while (!this.#isStopped) {
      try {
        const connection = await this.#connection();
        // The witness of src/registry/etcd-v3-records.ts: the history has to be the one that is known.
        await connection.ask(RANGE, range({ key: CONFIG, revision: BigInt(this.#leases.revision) }));
        const now = performance.now();
        this.#leases.begin(connection, now);
        await connection.ask(RANGE, range({ key: CONFIG }));
        this.#config.begin(connection, now);
        if (connection.isClosed) throw new Error('gone');
        break;
      } catch {
        await this.#moveOn();
      }
    }
    this.#opening = false;
  }

  #connection(): Promise<GrpcConnection> {
    return this.#parts.pool.get(this.n, this.#member);
  }
}

/** A value of at least so many bytes: with a field that nobody reads. */
function padded(value: string, bytes: number): string {
  const missing = bytes - value.length - ',"Pad":""'.length;
  return missing <= 0 ? value : `${value.slice(0, -1)},"Pad":"${'x'.repeat(missing)}"}`;
}
