import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Server, ServerCredentials, type ServerDuplexStream, type sendUnaryData } from '@grpc/grpc-js';
import { EventType } from '#src/etcd/names.ts';
import {
  KVService,
  type RangeRequest,
  RangeResponse,
  type WatchRequest,
  WatchResponse,
  WatchService,
} from '#src/etcd/rpc.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { CompactedError, RegistryError } from '#src/registry/errors.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { type WatchPatience, type WatchProgress, watchRanges } from '#src/registry/etcd-v3-watch.ts';
import { systemClock } from '#src/sys/clock.ts';

/** What an etcd may send and a test can't make it send: a server that plays a script to every watch. */
type Script = (stream: ServerDuplexStream<WatchRequest, WatchResponse>, request: WatchRequest) => void;
type Partial = Parameters<typeof WatchResponse.create>[0];

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.forceShutdown();
});

/** No script is so slow that a watch would ask in the middle of it. */
const NEVER_QUIET: WatchPatience = { quietMs: 30_000, quietForCallMs: 30_000, answerMs: 30_000 };
/** Long enough for the script, which runs in the same process. */
const SOON_QUIET: WatchPatience = { quietMs: 50, quietForCallMs: 100, answerMs: 2_000 };

async function watchScript(
  script: Script,
  {
    patience = NEVER_QUIET,
    range = () => {},
  }: {
    readonly patience?: WatchPatience;
    readonly range?: (answer: () => void, request: RangeRequest) => void;
  } = {},
): Promise<{ seen: WatchProgress[]; end: unknown }> {
  const server = new Server();
  servers.push(server);
  server.addService(WatchService, {
    watch(stream: ServerDuplexStream<WatchRequest, WatchResponse>) {
      stream.on('data', (request: WatchRequest) => script(stream, request));
    },
  });
  server.addService(
    { range: KVService.range },
    {
      range({ request }: { request: RangeRequest }, callback: sendUnaryData<RangeResponse>) {
        range(() => callback(null, RangeResponse.create({})), request);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const endpoints = parseEndpoints(`http://127.0.0.1:${port}`, { tls: false });
  const connection = new EtcdConnection({ clock: systemClock, random: () => 0 }, { endpoints, tls: {} });
  const key = Buffer.from('/x/subnets/');
  const options = {
    what: 'watch the leases',
    ranges: [{ key, rangeEnd: Buffer.from('/x/subnets0') }],
    startRevision: 5n,
    probeKey: Buffer.from('/x/config'),
    patience,
  };
  const seen: WatchProgress[] = [];
  try {
    for await (const progress of watchRanges(connection, options, AbortSignal.timeout(60_000)))
      seen.push(progress);
  } catch (end) {
    return { seen, end };
  } finally {
    connection.close();
  }
  throw new Error('a watch ended without a reason');
}

const put = (name: string, modRevision: bigint) => ({
  type: EventType.PUT,
  kv: { key: Buffer.from(`/x/subnets/${name}`), value: Buffer.alloc(0), modRevision },
});
const send = (stream: ServerDuplexStream<WatchRequest, WatchResponse>, ...responses: readonly Partial[]) => {
  for (const response of responses) stream.write(WatchResponse.create(response));
};
const isCreate = (request: WatchRequest) => request.requestUnion?.$case === 'createRequest';
/** As etcd from 3.4 on answers: with the id that was asked for. */
const idOf = ({ requestUnion }: WatchRequest) =>
  requestUnion?.$case === 'createRequest' ? requestUnion.createRequest.watchId : 0n;
const revisions = (seen: readonly WatchProgress[]) => seen.map(({ revision }) => revision);
const namesOf = ({ events }: WatchProgress) => events.map(({ kv }) => kv?.key.toString());

test('the fragments of one message are one batch, so that no revision is split', async () => {
  const { seen } = await watchScript((stream) => {
    send(
      stream,
      { created: true, header: { revision: 9n } },
      { fragment: true, header: { revision: 9n }, events: [put('a', 7n)] },
      { fragment: true, header: { revision: 9n }, events: [put('b', 7n)] },
      { header: { revision: 9n }, events: [put('c', 7n)] },
    );
    stream.end();
  });
  assert.deepEqual(seen.map(namesOf), [[], ['/x/subnets/a', '/x/subnets/b', '/x/subnets/c']]);
  assert.deepEqual(revisions(seen), [undefined, 7n]);
});

test('fragments without their end are not handed out', async () => {
  const { seen, end } = await watchScript((stream) => {
    send(stream, { fragment: true, events: [put('a', 7n)] });
    stream.end();
  });
  assert.deepEqual(seen, []);
  assert.ok(end instanceof RegistryError);
});

test('one resumes after the events that came, not after a header that runs ahead of them', async () => {
  const { seen } = await watchScript((stream, request) => {
    if (!isCreate(request)) return;
    send(
      stream,
      { created: true, header: { revision: 90n } },
      { header: { revision: 90n }, events: [put('a', 6n), put('b', 8n)] },
      // The answer to a progress request, and then etcd's own notice.
      { watchId: -1n, header: { revision: 95n } },
      { watchId: 0n, header: { revision: 99n } },
    );
    stream.end();
  });
  assert.deepEqual(revisions(seen), [undefined, 8n, undefined, 99n]);
});

test('a compaction is reported as one', async () => {
  const { end } = await watchScript((stream) =>
    send(stream, { created: true }, { canceled: true, compactRevision: 40n }),
  );
  assert.ok(end instanceof CompactedError);
  assert.match(end.message, /before revision 40$/);
});

test('a cancelled watch gives the reason', async () => {
  const { end } = await watchScript((stream) =>
    send(stream, { created: true, canceled: true, watchId: -1n, cancelReason: 'etcdserver: no space' }),
  );
  assert.ok(end instanceof RegistryError);
  assert.match(end.message, /^cannot watch the leases: http:\/\/127.0.0.1:\d+: no space$/);
});

test('a quiet server is asked for a sign of life, and a silent one is given up', async () => {
  let asked = 0;
  const { seen, end } = await watchScript(
    (stream, request) => {
      if (isCreate(request)) send(stream, { created: true, watchId: idOf(request) });
      else if (++asked < 3) send(stream, { watchId: -1n, header: { revision: 9n } });
    },
    { patience: SOON_QUIET },
  );
  assert.equal(asked, 3);
  assert.equal(seen.length, 3);
  assert.ok(end instanceof RegistryError);
  assert.equal(end.reason, 'timeout');
});

test('a server that ends the watch is unreachable, not a success', async () => {
  const { end } = await watchScript((stream) => stream.end());
  assert.ok(end instanceof RegistryError);
  assert.equal(end.reason, 'unreachable');
});

test('a server that chooses the watch’s id itself gets no progress request: it is asked by a call', async () => {
  const asked: string[] = [];
  let open: ServerDuplexStream<WatchRequest, WatchResponse> | undefined;
  const { seen, end } = await watchScript(
    (stream, request) => {
      open = stream;
      if (!isCreate(request)) asked.push('progress');
      else send(stream, { created: true, watchId: 0n });
    },
    {
      patience: SOON_QUIET,
      range(answer, { key, countOnly }) {
        asked.push(`${key} ${countOnly}`);
        answer();
        if (asked.length === 3 && open !== undefined) send(open, { watchId: 0n, events: [put('a', 7n)] });
        if (asked.length === 5) open?.end();
      },
    },
  );
  assert.deepEqual(asked, Array(5).fill('/x/config true'));
  assert.deepEqual(revisions(seen), [undefined, 7n]);
  assert.ok(end instanceof RegistryError && end.reason === 'unreachable', 'the quiet watch stayed');
});

test('a server that answers neither is given up', async () => {
  let asked = 0;
  const { end } = await watchScript(
    (stream, request) => {
      if (isCreate(request)) send(stream, { created: true, watchId: 0n });
    },
    {
      patience: SOON_QUIET,
      range() {
        asked++;
      },
    },
  );
  assert.equal(asked, 1);
  assert.ok(end instanceof RegistryError && end.reason === 'timeout');
});
