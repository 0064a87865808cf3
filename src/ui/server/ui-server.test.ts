import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemProgramFiles } from '#src/sys/program-files.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { until } from '#src/sys/until.ts';
import type { LiveMessage, TraceAnswer } from '#src/ui/model/feed.ts';
import type { Series } from '#src/ui/model/series.ts';
import { UiServer, type UiServerOptions } from '#src/ui/server/ui-server.ts';
import { DOWN, FakeHostApi } from '../../../test/support/fake-host-api.ts';

async function serve(t: TestContext, { apis = 1, token }: { apis?: number; token?: string } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-ui-'));
  const hosts = Array.from({ length: apis }, (_, n) => new FakeHostApi(folder, n + 1, 3));
  for (const host of hosts) await host.start();
  const place = {
    title: 'lab demo',
    sources: async () => hosts.map(({ source }) => source),
    ends: async () => ['h1/c1', 'h2/c1'],
    trace: async (from: string, to: string) =>
      ['echo', JSON.stringify({ hops: [{ id: from, host: to }] })] as const,
  };
  const server = await start(t, place, { address: '127.0.0.1', port: 0, token });
  t.after(async () => {
    for (const host of hosts) await host.stop();
    rmSync(folder, { recursive: true });
  });
  return { ...server, hosts };
}

async function start(
  t: TestContext,
  place: ConstructorParameters<typeof UiServer>[0]['place'],
  options: UiServerOptions,
) {
  const components = {
    ...{ clock: systemClock, http: systemUnixHttp, commands: systemCommands, files: systemProgramFiles },
    place,
  };
  const server = new UiServer(components, options);
  const port = await server.start();
  t.after(() => server.stop());
  return { base: `http://127.0.0.1:${port}`, port };
}

test('the page may load nothing from elsewhere and run no script of its text, and nothing can be written', async (t) => {
  const { base } = await serve(t);
  const page = await fetch(base);
  assert.equal(page.status, 200);
  const policy = page.headers.get('content-security-policy') ?? '';
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|\*|http/);
  assert.doesNotMatch(await page.text(), /<script(?![^>]* src=)|<style|\son\w+=|https?:/);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    for (const path of ['/', '/api/live', '/api/v1/h1/status'])
      assert.equal((await fetch(`${base}${path}`, { method })).status, 405);
  }
  for (const path of ['/etc/passwd', '/page/../../package.json', '/api/v1/h1/moves', '/api/v1/h9/status'])
    assert.equal((await fetch(`${base}${path}`)).status, 404, path);
});

test('a name of another site that leads here is refused', async (t) => {
  const { port } = await serve(t);
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  const headers = { host: `evil.example:${port}` };
  request({ host: '127.0.0.1', port, path: '/api/v1/h1/status', headers }, (response) => {
    response.resume();
    resolve(response.statusCode);
  }).end();
  assert.equal(await promise, 421);
});

test('behind a token nothing is read without it, and it leaves the address for a cookie', async (t) => {
  const token = 'a-token-of-some-length';
  const { base } = await serve(t, { token });
  for (const path of ['/', '/page/main.ts', '/api/live', '/api/v1/h1/status'])
    assert.equal((await fetch(`${base}${path}`)).status, 401, path);
  const given = await fetch(`${base}/?token=${token}`, { redirect: 'manual' });
  assert.deepEqual([given.status, given.headers.get('location')], [303, '/']);
  const cookie = given.headers.get('set-cookie')?.split(';')[0] ?? '';
  assert.equal((await fetch(base, { headers: { cookie } })).status, 200);
});

test('on another address than a loopback one it does not start without a token', async (t) => {
  const place = {
    title: '',
    sources: async () => [],
    ends: async () => [],
    trace: async () => ['false'] as const,
  };
  for (const address of ['0.0.0.0', '::', '10.0.0.1'])
    await assert.rejects(start(t, place, { address, port: 0 }), { code: 'ui' });
  await start(t, place, { address: '0.0.0.0', port: 0, token: 'a-token-of-some-length' });
  const { port } = await start(t, place, { address: '127.0.0.1', port: 0 });
  await assert.rejects(start(t, place, { address: '127.0.0.1', port }), {
    message: `the page can't be served on 127.0.0.1 port ${port}: another program listens there`,
  });
});

test('the local API of each source is passed on, its events as they come', async (t) => {
  const { base, hosts } = await serve(t, { apis: 2 });
  const [, second] = hosts;
  assert.ok(second);
  const status = await until(
    async () => {
      const response = await fetch(`${base}/api/v1/h2/status`);
      return response.ok && ((await response.json()) as { node: string });
    },
    { what: 'first round' },
  );
  assert.equal(status.node, 'node-2');
  const trace = (await fetch(`${base}/api/trace?from=a&to=b`).then((it) => it.json())) as TraceAnswer;
  assert.equal(trace.hops[0]?.host, 'b');
  const stream = await fetch(`${base}/api/v1/h2/events`, { headers: { accept: 'text/event-stream' } });
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  const texts = stream.body?.pipeThrough(new TextDecoderStream());
  second.happen({ type: 'repair', severity: 'warning', subject: 'a route', text: 'it was put back' });
  for await (const text of texts ?? []) {
    assert.match(text, /^id: 1\nevent: repair\ndata: .*it was put back/);
    break;
  }
});

test('the feed begins with everything, then has what changes, and a daemon that ends is stale', async (t) => {
  const { base, hosts } = await serve(t);
  const [host] = hosts;
  assert.ok(host);
  const stream = await fetch(`${base}/api/live`);
  const messages: LiveMessage[] = [];
  const reading = (async () => {
    for await (const text of stream.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      for (const line of text.split('\n'))
        if (line.startsWith('data: ')) messages.push(JSON.parse(line.slice(6)) as LiveMessage);
    }
  })();
  reading.catch(() => {});
  /** Among those that came from `from` on. */
  const found = (pick: (message: LiveMessage) => boolean, what: string, from = 0) =>
    until(() => messages.slice(from).find(pick), { what });
  await found((it) => it.kind !== 'beat' && it.sources[0]?.answers === true, 'answer of h1');
  host.probe(2, DOWN);
  const change = await found(
    (it) => it.kind === 'change' && it.sources[0]?.changed.some(({ state }) => state === 'down') === true,
    'broken link',
  );
  assert.ok(change.kind === 'change');
  assert.deepEqual(
    change.sources[0]?.changed.map(({ peer }) => peer),
    ['10.0.2.0-24'],
    'only the link that changed',
  );
  await host.stop();
  const stale = await found((it) => it.kind === 'change' && it.sources[0]?.answers === false, 'stale source');
  assert.ok(stale.kind === 'change');
  assert.match(stale.sources[0]?.why ?? '', /does not run/);
  assert.deepEqual([stale.sources[0]?.gone, stale.sources[0]?.changed], [[], []], 'its last word is kept');
  const before = messages.length;
  await host.start();
  await found((it) => it.kind === 'change' && it.sources[0]?.answers === true, 'host that is back', before);
  const series = await fetch(`${base}/api/series?source=h1&after=0`).then(
    (it) => it.json() as Promise<Series>,
  );
  assert.ok(series.time.length >= 1 && series.columns.peersUp.length === series.time.length);
});
