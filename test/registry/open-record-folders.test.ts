import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WeftError } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { openRecordFolders } from '#src/registry/open-record-folders.ts';
import type { OpenRegistryOptions } from '#src/registry/open-registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { until } from '#src/sys/until.ts';
import { EtcdServer, type EtcdServerOptions } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';

const signal = () => AbortSignal.timeout(30_000);

async function startEtcd(t: TestContext, options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const server = await EtcdServer.start(options);
  t.after(() => server.stop());
  return server;
}

function opening(endpoints: string, api: OpenRegistryOptions['api'], given = signal()) {
  const lines: string[] = [];
  let pauses = 0;
  const clock = {
    ...systemClock,
    sleep(ms: number, ended?: AbortSignal) {
      if (ended !== given) return systemClock.sleep(ms, ended);
      pauses++;
      return systemClock.sleep(ms / 100, ended);
    },
  };
  const logger = { ...silentLogger, warning: (line: string) => lines.push(line) };
  const options = { endpoints, prefix: '/weft/network', api, tls: {} };
  const opened = openRecordFolders({ clock, logger, files: systemFiles, random: () => 0 }, options, given);
  // Awaited later, or never.
  opened.catch(() => {});
  const apiOf = async (): Promise<string> => {
    const folders = await opened;
    const created = await folders.folder('tenants/networks').create('blue', '{}', undefined, signal());
    await folders.close();
    return `${folders.api}, ${created.outcome}`;
  };
  const rounds = (count: number) =>
    until(() => pauses >= count, { what: `${count} rounds`, timeoutMs: 30_000 });
  return { opened, apiOf, rounds, lines };
}

/** What is in front of an etcd and speaks HTTP/1.1 alone, as etcd 2 does; v3 can't be asked there. */
async function onlyV2(t: TestContext, url: string): Promise<string> {
  const server = createServer((incoming, response) => {
    const { method, headers } = incoming;
    const forwarded = request(`${url}${incoming.url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    forwarded.on('error', () => response.destroy());
    incoming.pipe(forwarded);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('auto is v3 wherever it answers, whatever is in v2', async (t) => {
  const server = await startEtcd(t);
  await server.ctl2('set', '/weft/network/tenants/networks/red', '{}');
  assert.equal(await opening(server.url, 'auto').apiOf(), 'v3, written');
  assert.equal(await opening(server.url, 'v2').apiOf(), 'v2, written');
  assert.equal(await opening(server.url, 'auto').apiOf(), 'v3, conflict');
});

test('auto is v3 on an etcd without v2, and on the embedded store', async (t) => {
  const server = await startEtcd(t, { args: ['--enable-v2=false'] });
  assert.equal(await opening(server.url, 'auto').apiOf(), 'v3, written');
  const store = await TestStore.start();
  t.after(() => store.remove());
  assert.equal(await opening(store.url, 'auto').apiOf(), 'v3, written');
});

test('auto is v2 where the servers do not speak v3', async (t) => {
  const server = await startEtcd(t);
  const { apiOf, lines } = opening(await onlyV2(t, server.url), 'auto');
  assert.equal(await apiOf(), 'v2, written');
  assert.deepEqual(lines, []);
});

test('an etcd that does not answer is waited for, which is logged once', async (t) => {
  const server = await startEtcd(t);
  await server.kill();
  const { apiOf, rounds, lines } = opening(server.url, 'auto');
  await rounds(5);
  assert.deepEqual(lines, [
    `cannot read the key /weft/network/tenants/probe: ${server.url}: connection refused; ` +
      'check the address (http or https, host, port) and that etcd runs there',
  ]);
  await server.launch();
  assert.equal(await apiOf(), 'v3, written');
});

test('v3 that asks for a password is waited for, while v2 answers', async (t) => {
  const server = await startEtcd(t, { ctlArgs: ['--user=root:secret'] });
  await server.ctl('user', 'add', 'root:secret');
  await server.ctl('auth', 'enable');
  const stopper = new AbortController();
  const { opened, rounds, lines } = opening(server.url, 'auto', stopper.signal);
  await rounds(3);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /etcd asks for a user and a password; check --etcd-username/);
  const reason = new Error('enough');
  stopper.abort(reason);
  await assert.rejects(opened, reason);
});

test('bad endpoints end it at once', async () => {
  await assert.rejects(opening('ftp://x', 'auto').opened, WeftError);
});
