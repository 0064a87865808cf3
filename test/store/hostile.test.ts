import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { test } from 'node:test';
import { LeaseKeepAliveRequest, WatchRequest } from '#src/etcd/rpc.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { bytes, put, range } from './script.ts';
import { StoreProcess } from './store-process.ts';

/** What a client that is no client can do to the store, before it has logged in or after: it goes on serving the others. */

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

async function startStore(scope: Scope): Promise<{ readonly store: StoreProcess; readonly api: EtcdApi }> {
  const store = await StoreProcess.start();
  scope.after(() => store.remove());
  const api = new EtcdApi(store.url);
  scope.after(() => api.close());
  return { store, api };
}

async function link(scope: Scope, store: StoreProcess, settings = {}): Promise<ClientHttp2Session> {
  // Node's client would end calls because of what it has queued itself.
  const session = connect(store.url, { settings, maxSessionMemory: 1000 });
  session.on('error', () => {});
  scope.after(() => session.destroy());
  await once(session, 'connect');
  return session;
}

function call(session: ClientHttp2Session, path: string, headers = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => {});
  return stream;
}

function closeOf(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    stream.on('close', resolve).resume();
  });
}

async function assertServes(store: StoreProcess, api: EtcdApi): Promise<void> {
  assert.equal(store.running, true, store.errors);
  await api.call(api.kv, api.kv.put, put('alive', 'yes'));
  assert.equal((await api.call(api.kv, api.kv.range, range('alive'))).count, 1n);
}

/** A message as gRPC frames it. */
function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

test('a call that is reset at any moment ends itself alone, whatever its path and content type', async (context) => {
  const { store, api } = await startStore(context);
  const kinds = [
    ['/x/y', 'application/grpc'],
    ['/', 'application/grpc'],
    ['/etcdserverpb.KV/Range', 'text/plain'],
    ['/etcdserverpb.KV/Range', 'application/grpc'],
    ['/etcdserverpb.Watch/Watch', 'application/grpc'],
    ['/etcdserverpb.Lease/LeaseKeepAlive', 'application/grpc'],
  ] as const;
  for (let round = 0; round < 10; round++) {
    const session = await link(context, store);
    const streams = kinds.flatMap(([path, type], index) => {
      const early = call(session, path, { 'content-type': type });
      early.end(Buffer.alloc(10));
      early.close(2);
      const late = call(session, path, { 'content-type': type });
      late.end(Buffer.alloc(10 * index));
      if (round % 2 === 0) setImmediate(() => late.close(2));
      else late.on('ready', () => late.close(2));
      return [early, late];
    });
    await Promise.all(streams.map(closeOf));
    session.destroy();
  }
  await assertServes(store, api);
});

/** The status line and the trailers that end a call. */
async function answerOf(stream: ClientHttp2Stream): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {};
  stream.on('response', (headers) => Object.assign(seen, headers));
  stream.on('trailers', (headers) => Object.assign(seen, headers));
  stream.resume();
  await closeOf(stream);
  return seen;
}

test('what is no call of ours is refused as gRPC has it', async (context) => {
  const { store, api } = await startStore(context);
  const session = await link(context, store);
  const answers = await Promise.all(
    [
      call(session, '/x/y').end(framed(Buffer.alloc(0))),
      call(session, '/x').end(),
      call(session, '/etcdserverpb.KV/Range', { 'content-type': 'text/plain' }).end(),
      call(session, '/etcdserverpb.KV/Range').end(),
      call(session, '/etcdserverpb.KV/Range').end(Buffer.from([1, 0, 0, 0, 1, 7])),
      call(session, '/etcdserverpb.KV/Range').end(Buffer.from([0, 0, 0, 0, 9, 7])),
      call(session, '/etcdserverpb.KV/Range').end(framed(Buffer.from([0x0a, 0xff]))),
      call(session, '/etcdserverpb.KV/Range').end(Buffer.from([0, 0xff, 0, 0, 0, 7])),
      // The end of the request is missing: the answer comes all the same.
      (() => {
        const stream = call(session, '/etcdserverpb.KV/Range');
        stream.write(framed(Buffer.from([0x0a, 1, 0x61])));
        return stream;
      })(),
    ].map(answerOf),
  );
  assert.deepEqual(
    answers.map((answer) => [answer[':status'], answer['grpc-status'], answer['grpc-message']]),
    [
      [200, '12', 'unknown method y for service x'],
      [200, '12', 'malformed method name'],
      [415, undefined, undefined],
      [200, '13', 'grpc: the request has no message'],
      [200, '12', 'grpc: compressed requests are not supported by this server'],
      [200, '13', 'grpc: the request ended in the middle of a message'],
      [200, '13', 'grpc: error unmarshalling request'],
      [200, '8', 'grpc: received message larger than max (4278190080 vs. 2097152)'],
      [200, '0', ''],
    ],
  );
  await assertServes(store, api);
});

test('a client that reads no answers is not listened to, and costs little', async (context) => {
  const { store, api } = await startStore(context);
  const progress = WatchRequest.create({ requestUnion: { $case: 'progressRequest', progressRequest: {} } });
  const floods = [
    ['/etcdserverpb.Watch/Watch', framed(WatchRequest.encode(progress).finish())],
    ['/etcdserverpb.Lease/LeaseKeepAlive', framed(LeaseKeepAliveRequest.encode({ ID: 1n }).finish())],
  ] as const;
  const before = await store.memory();
  for (const [path, message] of floods) {
    const session = await link(context, store, { initialWindowSize: 0 });
    const streams = Array.from({ length: 20 }, () => call(session, path));
    // Each stream is offered 8 MB; what is not taken stays with the client.
    const offered = Buffer.concat(Array(Math.ceil((8 << 20) / message.length)).fill(message));
    for (const stream of streams) stream.write(offered);
    for (let n = 0; n < 50; n++) await assertServes(store, api);
    for (const stream of streams) {
      assert.ok(stream.writableLength > offered.length / 2, 'the store must have stopped reading');
    }
    session.destroy();
  }
  const growth = (await store.memory()) - before;
  assert.ok(growth < 100, `grew by ${growth} MB`);
});

test('requests that are never finished take turns, and are given up after a while', async (context) => {
  const { store, api } = await startStore(context);
  const before = await store.memory();
  const session = await link(context, store);
  // Each says it has 1.9 MB and sends all but the last byte.
  const size = 1_900_000;
  const unfinished = framed(Buffer.alloc(size)).subarray(0, size);
  const streams = Array.from({ length: 200 }, () => {
    const stream = call(session, '/etcdserverpb.KV/Put');
    stream.write(unfinished);
    return stream;
  });
  // Other connections are served meanwhile, large requests too.
  await api.call(api.kv, api.kv.put, put('large', 'x'.repeat(1 << 20)));
  for (let n = 0; n < 50; n++) await assertServes(store, api);
  const growth = (await store.memory()) - before;
  assert.ok(growth < 120, `grew by ${growth} MB`);
  for (const stream of streams) stream.close(8);
});

test('a large value for 500 watchers of one stream is kept once, and each of them gets it', async (context) => {
  const { store, api } = await startStore(context);
  const watchers = 500;
  const watch = api.watch();
  context.after(() => watch.end());
  for (let n = 0; n < watchers; n++) watch.create({ key: bytes('shared'), prevKv: n % 2 === 0 });
  for (let n = 0; n < watchers; n++) await watch.next();
  const before = await store.memory();
  watch.call.pause();
  const other = new EtcdApi(store.url);
  context.after(() => other.close());
  const value = 'x'.repeat(1_400_000);
  const { header } = await other.call(other.kv, other.kv.put, put('shared', value));
  for (let n = 0; n < 20; n++) await assertServes(store, other);
  const growth = (await store.memory()) - before;
  assert.ok(growth < 60, `grew by ${growth} MB`);
  const served = new Set<bigint>();
  while (served.size < watchers) {
    const { events, watchId } = await watch.next();
    assert.deepEqual(
      events.map(({ kv }) => [kv?.modRevision, kv?.value.length]),
      [[header?.revision, value.length]],
    );
    assert.equal(served.has(watchId), false, 'each watcher sees it once');
    served.add(watchId);
  }
});

test('a watcher that reads a history of large values costs a window of it', async (context) => {
  const { store, api } = await startStore(context);
  const [writes, value] = [80, 'x'.repeat(1_000_000)];
  for (let n = 0; n < writes; n++) await api.call(api.kv, api.kv.put, put('large', value));
  await assertServes(store, api);
  const before = await store.memory();
  const slow = new EtcdApi(store.url);
  context.after(() => slow.close());
  const watch = slow.watch();
  context.after(() => watch.end());
  watch.create({ key: bytes('large'), startRevision: 1n });
  await watch.next();
  watch.call.pause();
  for (let n = 0; n < 20; n++) await assertServes(store, api);
  const growth = (await store.memory()) - before;
  assert.ok(growth < 60, `grew by ${growth} MB`);
  let revision = 1n;
  while (revision < BigInt(writes) + 1n) {
    for (const { kv } of (await watch.next()).events) assert.equal(kv?.modRevision, ++revision);
  }
});

test('watchers beyond what a connection may have are refused, and room is given back', async (context) => {
  const { api } = await startStore(context);
  const watch = api.watch();
  context.after(() => watch.end());
  const key = Buffer.alloc(1 << 20, 'k');
  const answers: string[] = [];
  for (let n = 0; n < 8; n++) {
    watch.create({ key });
    answers.push((await watch.next()).cancelReason);
  }
  const refused = answers.filter((reason) => reason === 'etcdserver: too many requests').length;
  assert.ok(refused > 0 && refused < 8, `${refused} refused`);
  watch.cancel(0n);
  assert.equal((await watch.next()).canceled, true);
  watch.create({ key });
  assert.equal((await watch.next()).cancelReason, '');
});
