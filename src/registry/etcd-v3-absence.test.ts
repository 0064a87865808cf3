import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { isAbsentFromV3 } from '#src/registry/etcd-v3-absence.ts';
import type { Clock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { until } from '#src/sys/until.ts';

const HEADER = { cluster_id: '14841639068965178418', member_id: '1', revision: '7', raft_term: '2' };

/** A server that answers everything with this, and keeps what it was asked. */
async function answering(t: TestContext, status: number, body: string | undefined) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    asked.push(`${request.method} ${request.url} ${text}`);
    if (body !== undefined) response.writeHead(status).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked };
}

const isAbsent = (urls: string, signal = AbortSignal.timeout(60_000), clock: Clock = new FakeClock()) => {
  const endpoints = parseEndpoints(urls, { tls: false });
  return isAbsentFromV3({ clock }, { endpoints, tls: {} }, '/network/config', signal);
};

test('etcd’s own no is one', async (t) => {
  const { url, asked } = await answering(t, 200, JSON.stringify({ header: HEADER }));
  assert.equal(await isAbsent(url), true);
  assert.deepEqual(asked, ['POST /v3/kv/range {"key":"L25ldHdvcmsvY29uZmln","keys_only":true}']);
});

const ANSWERS: readonly (readonly [number, string, string])[] = [
  [200, JSON.stringify({ header: HEADER, kvs: [{ key: 'L25ldHdvcmsvY29uZmln' }], count: '1' }), 'the key'],
  [200, '{}', 'no cluster’s answer'],
  [200, 'null', 'nothing'],
  [200, '<html>', 'a page'],
  [404, '404 page not found', 'no gateway'],
  [503, JSON.stringify({ header: HEADER }), 'an error’s status'],
  [400, '{"error":"etcdserver: user name is empty","code":3}', 'a cluster that wants a user'],
];
for (const [status, body, what] of ANSWERS) {
  test(`${what} is none`, async (t) => {
    const { url } = await answering(t, status, body);
    assert.equal(await isAbsent(url), false);
  });
}

test('an endpoint that nobody listens on leaves the word to the next', async (t) => {
  const { url } = await answering(t, 200, JSON.stringify({ header: HEADER }));
  assert.equal(await isAbsent(`http://127.0.0.1:1,${url}`), true);
  assert.equal(await isAbsent('http://127.0.0.1:1'), false);
});

test('one that is silent is not waited for, and an abort is its reason', async (t) => {
  const { url, asked } = await answering(t, 200, undefined);
  const clock = new FakeClock();
  const absent = isAbsent(url, new AbortController().signal, clock);
  await until(() => asked.length > 0, { what: 'question' });
  await clock.advance(1_000);
  assert.equal(await absent, false);
  const reason = new Error('shutting down');
  await assert.rejects(isAbsent(url, AbortSignal.abort(reason)), reason);
});
