import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EtcdApi } from '../support/etcd-api.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { WEFT } from '../support/flanneld.ts';
import { TestStore } from '../support/store.ts';
import { unusedPort } from '../support/unused-port.ts';
import { ALL, put, range } from './script.ts';

const folder = await mkdtemp(join(tmpdir(), 'weft-store-transfer-'));
after(() => rm(folder, { recursive: true, force: true }));

function start(words: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(WEFT, ['store', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
}

/** `weft store WORDS` to its end. */
async function weft(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = start(words);
  let [out, err] = ['', ''];
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, out, err };
}

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

async function both(
  scope: Scope,
): Promise<{ store: TestStore; etcd: EtcdServer; at: EtcdApi; there: EtcdApi }> {
  const [store, etcd] = await Promise.all([TestStore.start(), EtcdServer.start()]);
  const [at, there] = [new EtcdApi(store.url), new EtcdApi(etcd.url)];
  scope.after(async () => {
    at.close();
    there.close();
    await Promise.all([store.remove(), etcd.stop()]);
  });
  return { store, etcd, at, there };
}

/** What a network leaves in a store: its config, two leases that end, one reservation. */
async function fill(api: EtcdApi, prefix = '/coreos.com/network'): Promise<void> {
  await api.call(api.lease, api.lease.leaseGrant, { ID: 101n, TTL: 86_400n });
  await api.call(api.lease, api.lease.leaseGrant, { ID: 102n, TTL: 500n });
  await api.call(api.kv, api.kv.put, put(`${prefix}/config`, '{"Network":"10.0.0.0/16"}'));
  await api.call(api.kv, api.kv.put, put(`${prefix}/subnets/10.0.1.0-24`, 'one', { lease: 101n }));
  await api.call(api.kv, api.kv.put, put(`${prefix}/subnets/10.0.2.0-24`, 'two', { lease: 102n }));
  await api.call(api.kv, api.kv.put, put(`${prefix}/subnets/10.0.3.0-24`, 'reserved'));
}

/** Keys with values, leases and the time these have left, to a hundred seconds. */
async function contents(api: EtcdApi): Promise<string[]> {
  const { kvs } = await api.call(api.kv, api.kv.range, range('', ALL));
  return Promise.all(
    kvs.map(async ({ key, value, lease }) => {
      if (lease === 0n) return `${key} ${value}`;
      const { TTL } = await api.call(api.lease, api.lease.leaseTimeToLive, { ID: lease, keys: false });
      return `${key} ${value} lease ${lease} ${Math.ceil(Number(TTL) / 100) * 100} s`;
    }),
  );
}

test('export to etcd v3 and import from it keep values, lease ids and remaining time', async (context) => {
  const { store, etcd, at, there } = await both(context);
  await fill(at);
  const dry = await weft('export', '--store', store.url, '--dry-run', etcd.url);
  assert.equal(dry.code, 0);
  assert.match(dry.out, /^\/coreos\.com\/network\/subnets\/10\.0\.2\.0-24 {2}\(\d+ s left\)$/m);
  assert.deepEqual(await contents(there), []);

  const exported = await weft('export', '--store', store.url, etcd.url);
  assert.match(exported.err, /^copied 4 keys, 2 with a lease, from http\S+ to http\S+\n$/);
  assert.deepEqual(await contents(there), await contents(at));
  assert.match((await contents(there)).join('\n'), /10\.0\.2\.0-24 two lease 102 500 s/);
  // Who keeps a lease alive can go on doing so at the target.
  assert.ok((await there.keepAlive(102n)) > 400n);

  const again = await weft('export', '--store', store.url, etcd.url);
  assert.equal(again.code, 1);
  assert.match(again.err, /is not empty: it has 4 keys; give --overwrite/);
  await at.call(at.kv, at.kv.put, put('/coreos.com/network/config', 'changed'));
  assert.equal((await weft('export', '--store', store.url, '--overwrite', etcd.url)).code, 0);
  assert.deepEqual(await contents(there), await contents(at));

  const empty = await TestStore.start();
  context.after(() => empty.remove());
  const back = await weft(
    'import',
    '--store',
    empty.url,
    '--prefix',
    '/coreos.com/network/subnets/',
    etcd.url,
  );
  assert.equal(back.code, 0, back.err);
  const imported = new EtcdApi(empty.url);
  context.after(() => imported.close());
  assert.deepEqual(await contents(imported), (await contents(at)).slice(1));
});

test('export to etcd v2 and import from it keep values and remaining time', async (context) => {
  const { store, etcd, at } = await both(context);
  await fill(at);
  const exported = await weft('export', '--store', store.url, '--etcd-api=v2', etcd.url);
  assert.equal(exported.code, 0, exported.err);
  assert.equal(await etcd.ctl2('get', '/coreos.com/network/subnets/10.0.3.0-24'), 'reserved\n');
  const node = await (await fetch(`${etcd.url}/v2/keys/coreos.com/network/subnets/10.0.2.0-24`)).json();
  const { ttl } = (node as { node: { ttl: number } }).node;
  assert.ok(ttl > 400 && ttl <= 500, String(ttl));
  const again = await weft('export', '--store', store.url, '--etcd-api=v2', etcd.url);
  assert.match(again.err, /is not empty/);

  const empty = await TestStore.start();
  context.after(() => empty.remove());
  const imported = await weft('import', '--store', empty.url, '--etcd-api=v2', etcd.url);
  assert.equal(imported.code, 0, imported.err);
  const api = new EtcdApi(empty.url);
  context.after(() => api.close());
  const withoutIds = (lines: readonly string[]): string[] =>
    lines.map((line) => line.replace(/lease \d+ /, ''));
  assert.deepEqual(withoutIds(await contents(api)), withoutIds(await contents(at)));

  await at.call(at.kv, at.kv.put, put('no-path', 'x'));
  const refused = await weft('export', '--store', store.url, '--etcd-api=v2', '--overwrite', etcd.url);
  assert.match(refused.err, /etcd v2 cannot hold the key "no-path": v2 keys are paths that begin with \//);
});

test('a file as backup: written, looked at, read back', async (context) => {
  const store = await TestStore.start();
  context.after(() => store.remove());
  const api = new EtcdApi(store.url);
  context.after(() => api.close());
  await fill(api);
  await api.call(api.kv, api.kv.put, put('\xff\0', '\xfe'));
  const file = join(folder, 'backup');
  assert.equal((await weft('export', '--store', store.url, file)).code, 0);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.match(await readFile(file, 'utf8'), /"key":"\/coreos.com\/network\/config","value":/);
  const empty = await TestStore.start();
  context.after(() => empty.remove());
  const copy = new EtcdApi(empty.url);
  context.after(() => copy.close());
  assert.equal((await weft('import', '--store', empty.url, file)).code, 0);
  assert.deepEqual(await contents(copy), await contents(api));

  await writeFile(file, '{"format":"weft-store-export","version":1}\n{"key":"a"}\n');
  const bad = await weft('import', '--store', empty.url, '--overwrite', file);
  assert.match(bad.err, /line 2: it has no value/);
  assert.match(
    (await weft('import', '--store', empty.url, join(folder, 'none'))).err,
    /there is no such file/,
  );
});

test('weft store serve: serves, names its mistakes in one line each, and ends cleanly', async (context) => {
  const port = await unusedPort();
  const data = join(folder, 'serve.db');
  const listen = `127.0.0.1:${port}`;
  const child = start(['serve', '--data', data, '--listen', listen]);
  context.after(() => {
    child.kill('SIGKILL');
  });
  const [line] = await once(child.stderr ?? child, 'data');
  assert.match(String(line), /serving .*serve\.db at http:\/\/127\.0\.0\.1:\d+, revision 1\n/);
  const api = new EtcdApi(listen);
  context.after(() => api.close());
  await api.call(api.kv, api.kv.put, put('a', 'b'));

  const other = join(folder, 'other.db');
  const text = join(folder, 'text');
  const users = join(folder, 'users');
  await writeFile(text, 'This is no database, however long one looks at it.\n'.repeat(20));
  await writeFile(users, 'alice\n');
  const mistakes: readonly [RegExp, ...string[]][] = [
    [/the port is in use; stop what listens there/, '--data', other, '--listen', listen],
    [/serve\.db: another process has it open; stop the store/, '--data', data, '--listen', '127.0.0.1:0'],
    [/text: it is not a weft store/, '--data', text],
    [/unable to open database file; check that the folder exists/, '--data', '/proc/none/store.db'],
    [/--listen nowhere is no address and port/, '--listen', 'nowhere'],
    [/--certfile is given without --keyfile/, '--certfile', '/dev/null'],
    [/line 1 of --user-file .* is not of the form name:password/, '--user-file', users],
    [/flag provided but not defined: -frobnicate/, '--frobnicate'],
    [/one word too many/, 'word'],
  ];
  for (const [message, ...words] of mistakes) {
    const { code, err } = await weft('serve', ...words);
    assert.match(err, message);
    assert.notEqual(code, 0);
    assert.doesNotMatch(err, /\n {4}at /);
  }

  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  // A clean end leaves one file.
  await assert.rejects(stat(`${data}-wal`), /ENOENT/);
});
