import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { EtcdV2Networks } from '#src/registry/etcd-v2-networks.ts';
import { systemClock } from '#src/sys/clock.ts';
import { openEtcd } from './open-etcd.ts';

/** A server that answers as a test says. It is no etcd: what it sends, etcd doesn't. */
async function serve(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    response.setHeader('x-etcd-index', '9');
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serveText = (t: TestContext, text: string): Promise<string> =>
  serve(t, (_request, response) => response.end(text));
const signal = () => AbortSignal.timeout(20_000);
const ROOT = '/flannel-vxlan/network/subnets';
const listOf = (nodes: string): string =>
  `{"action":"get","node":{"key":"${ROOT}","dir":true,"nodes":${nodes},"modifiedIndex":5,"createdIndex":5}}`;
const leaf = (name: string): string =>
  `{"key":"${ROOT}/${name}","value":"x","modifiedIndex":5,"createdIndex":5}`;

test('folders may be nested thousands of times', async (t) => {
  const depth = 5_000;
  let node = leaf(Array(depth).fill('a').join('/'));
  for (let level = depth - 1; level >= 1; level--) {
    const key = `${ROOT}/${Array(level).fill('a').join('/')}`;
    // The keys of all levels together would be 50 MB.
    const short = level > 50 ? `${ROOT}/deep` : key;
    node = `{"key":"${short}","dir":true,"nodes":[${node}],"modifiedIndex":5,"createdIndex":5}`;
  }
  const registry = openEtcd('v2', await serveText(t, listOf(`[${leaf('10.0.1.0-24')},${node}]`)));
  const { records } = await registry.list(signal());
  assert.deepEqual(
    records.map(({ name }) => name.slice(0, 11)),
    ['10.0.1.0-24', 'a/a/a/a/a/a'],
  );
  await registry.close();
});

test('a folder of 200,000 leases is read in order', async (t) => {
  const names = Array.from({ length: 200_000 }, (_, n) => `n${n}`);
  const inner = `{"key":"${ROOT}/f","dir":true,"nodes":[${names.map((name) => leaf(`f/${name}`)).join()}],"modifiedIndex":5,"createdIndex":5}`;
  const registry = openEtcd('v2', await serveText(t, listOf(`[${inner}]`)));
  const { records } = await registry.list(signal());
  assert.deepEqual(
    records.map(({ name }) => name),
    names.map((name) => `f/${name}`),
  );
  await registry.close();
});

test('keys beside the folder are no leases', async (t) => {
  const strange = '{"key":"/zzz","value":"v","modifiedIndex":1,"createdIndex":1}';
  const registry = openEtcd('v2', await serveText(t, listOf(`[${strange},${leaf('10.0.1.0-24')}]`)));
  const { records } = await registry.list(signal());
  assert.deepEqual(
    records.map(({ name }) => name),
    ['10.0.1.0-24'],
  );
  await registry.close();
});

const STRANGE = [
  listOf('[null]'),
  listOf('[5]'),
  listOf('[[]]'),
  listOf('{"a":1}'),
  listOf(`[{"key":"${ROOT}/x"}]`),
  listOf(`[{"key":5,"modifiedIndex":1,"createdIndex":1}]`),
  listOf(`[{"key":"${ROOT}/x","value":7,"modifiedIndex":1,"createdIndex":1}]`),
  listOf(`[{"key":"${ROOT}/x","modifiedIndex":1.5,"createdIndex":1}]`),
  listOf(`[{"key":"${ROOT}/x","modifiedIndex":-1,"createdIndex":1e300}]`),
  '{"action":"get","node":5}',
  '{"action":"get","node":null}',
  '{"action":"get","node":[]}',
  '{"action":"get"}',
  '{"errorCode":"x"}',
  '{"errorCode":{}}',
  '[]',
  'null',
  '"text"',
  '5',
  '',
  '<html>',
];
for (const text of STRANGE) {
  test(`no answer of etcd: ${text.replace(ROOT, '…').slice(0, 90)}`, async (t) => {
    const registry = openEtcd('v2', await serveText(t, text));
    const failed = async (call: Promise<unknown>): Promise<void> => {
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof RegistryError, String(error));
        assert.equal(error.reason, 'protocol');
        return true;
      });
    };
    await failed(registry.list(signal()));
    // What lists nothing but strange nodes is a folder for who reads a key.
    if (!text.includes('"nodes"')) {
      await failed(registry.read('x', signal()));
      await failed(registry.create('x', '', undefined, signal()));
    }
    await registry.close();
  });
}

/** A server that sends everybody on to another. */
const redirectTo = (t: TestContext, target: string, seen: (string | undefined)[]): Promise<string> =>
  serve(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(307, { location: `${target}${request.url}` }).end();
  });

test('user and password follow a redirect to another endpoint, and to no other host', async (t) => {
  const auth = { username: 'u', password: 'p' };
  const basic = `Basic ${Buffer.from('u:p').toString('base64')}`;
  const [atFirst, atTarget]: (string | undefined)[][] = [[], []];
  const target = await serve(t, (request, response) => {
    atTarget?.push(request.headers.authorization);
    response.end(listOf('[]'));
  });
  const first = await redirectTo(t, target, atFirst ?? []);
  const stranger = openEtcd('v2', first, { auth });
  await assert.rejects(stranger.list(signal()), (error) => {
    assert.ok(error instanceof RegistryError && error.reason === 'protocol');
    assert.match(error.message, /redirected to http:\/\/127\.0\.0\.1:\d+, which is not among the endpoints/);
    return true;
  });
  assert.deepEqual([atFirst, atTarget], [[basic], []]);
  await stranger.close();
  const both = openEtcd('v2', `${first},${target}`, { auth });
  await both.list(signal());
  assert.deepEqual([atFirst, atTarget], [[basic, basic], [basic]]);
  await both.close();
  const open = openEtcd('v2', first);
  await open.list(signal());
  assert.deepEqual(atTarget, [basic, undefined]);
  await open.close();
});

test('a look at the networks reads one key for each, and nothing of tenants', async (t) => {
  const seen: (string | undefined)[] = [];
  const folders = ['blue', 'subnets', 'tenants'].map((name) => `{"key":"/p/${name}","dir":true}`);
  const url = await serve(t, ({ url: asked }, response) => {
    seen.push(asked);
    if (asked?.includes('/config')) response.end(`{"action":"get","node":${leaf('config')}}`);
    else response.end(`{"action":"get","node":{"key":"/p","dir":true,"nodes":[${folders.join()}]}}`);
  });
  const networks = new EtcdV2Networks(
    { clock: systemClock, random: () => 0 },
    { endpoints: parseEndpoints(url, { tls: false }), prefix: '/p', tls: {} },
  );
  assert.deepEqual(await networks.list(signal()), ['blue']);
  assert.deepEqual(seen, ['/v2/keys/p?quorum=true', '/v2/keys/p/blue/config?quorum=true']);
  await networks.close();
});
