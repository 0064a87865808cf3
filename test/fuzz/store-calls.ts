import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { setImmediate as turn } from 'node:timers/promises';
import {
  AuthService,
  ClusterService,
  KVService,
  LeaseService,
  MaintenanceService,
  WatchService,
} from '#src/etcd/rpc.ts';
import type { StoreProcess } from '../store/store-process.ts';
import type { Random } from './random.ts';
import { anyRequest, txnRequest, watchRequest } from './requests.ts';
import { storeRounds } from './store-rounds.ts';
import type { Target } from './target.ts';

const PATHS = [KVService, LeaseService, WatchService, MaintenanceService, ClusterService, AuthService]
  .flatMap((service) => Object.values(service))
  .map(({ path }) => path);

/** Calls of gRPC whose messages, framing and ends are random. */
export const storeCalls: Target = {
  name: 'store-calls',
  description: 'calls of every method of the store, whole, cut off, mutated and reset',
  start: () =>
    storeRounds((random, store) =>
      calls(random, store, () => {
        const { path, bytes } = anyRequest(random);
        return { path: random.once(8) ? random.pick(PATHS as [string]) : path, bytes };
      }),
    ),
};

export const storeTxns: Target = {
  name: 'store-txns',
  description: 'transactions of the store with operations and numbers of every kind',
  start: () =>
    storeRounds((random, store) =>
      calls(random, store, () => ({ path: KVService.txn.path, bytes: txnRequest(random) })),
    ),
};

export const storeWatches: Target = {
  name: 'store-watches',
  description: 'watches of the store that begin anywhere, and are read slowly or not at all',
  start: () =>
    storeRounds((random, store) =>
      calls(random, store, () =>
        random.once(3)
          ? { path: KVService.txn.path, bytes: txnRequest(random) }
          : { path: WatchService.watch.path, bytes: watchRequest(random) },
      ),
    ),
};

interface Call {
  readonly path: string;
  readonly bytes: Buffer;
}

/** A connection with some calls; answers are read, or not. */
async function calls(random: Random, store: StoreProcess, next: () => Call): Promise<void> {
  const settings = random.once(4) ? { initialWindowSize: random.pick([0, 1, 1000]) } : {};
  const session = connect(store.url, { settings });
  session.on('error', () => {});
  await new Promise((resolve) => {
    session.once('connect', resolve);
    session.once('close', resolve);
  });
  const streams: ClientHttp2Stream[] = [];
  for (let n = random.int(12); n >= 0 && !session.destroyed && !session.closed; n--) {
    streams.push(begin(random, session, next()));
    if (random.once(3)) await turn();
  }
  const patience = new Promise((resolve) => setTimeout(resolve, random.int(40)));
  await Promise.race([Promise.all(streams.map(ended)), patience]);
  const closed = new Promise((resolve) => session.once('close', resolve));
  if (session.destroyed) return;
  session.destroy();
  await closed;
}

function begin(random: Random, session: ClientHttp2Session, { path, bytes }: Call): ClientHttp2Stream {
  const stream = session.request({
    ':method': random.once(20) ? 'GET' : 'POST',
    ':path': path,
    'content-type': random.once(15) ? 'text/plain' : 'application/grpc+proto',
    te: 'trailers',
    ...(random.once(6) && { token: 'x', 'grpc-timeout': random.pick(['1n', '0S', 'x', '99999999H']) }),
    ...(random.once(10) && { 'grpc-encoding': 'gzip' }),
  });
  stream.on('error', () => {});
  if (!random.once(5)) stream.resume();
  const messages = Array.from({ length: random.once(3) ? random.int(6) : 1 }, () => framed(random, bytes));
  const body = Buffer.concat(messages);
  if (stream.writable) {
    for (const piece of random.pieces(random.once(6) ? random.mutate(body) : body)) stream.write(piece);
    if (!random.once(5)) stream.end();
  }
  const fate = random.int(5);
  if (fate === 0) stream.close(random.int(13));
  if (fate === 1) setImmediate(() => stream.close(8));
  return stream;
}

function framed(random: Random, bytes: Buffer): Buffer {
  const message = random.once(4) ? random.mutate(bytes) : bytes;
  const prefix = Buffer.alloc(5);
  prefix[0] = random.once(20) ? 1 : 0;
  prefix.writeUInt32BE(random.once(20) ? random.int(0xffffffff) : message.length, 1);
  return Buffer.concat([prefix, message]);
}

function ended(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    stream.on('close', () => resolve());
  });
}
