import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { EtcdApi } from '../support/etcd-api.ts';
import { WEFT } from '../support/flanneld.ts';
import { TestStore } from '../support/store.ts';
import { ALL, put, putOp, range, remove, txn } from './script.ts';

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'weft-maintenance-'));
after(() => rm(folder, { recursive: true, force: true }));

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

async function startStore(scope: Scope, options: Parameters<typeof TestStore.start>[0] = {}) {
  const store = await TestStore.start(options);
  scope.after(() => store.remove());
  return { store, api: connectTo(scope, store) };
}

function connectTo(scope: Scope, store: TestStore): EtcdApi {
  const api = new EtcdApi(store.url);
  scope.after(() => api.close());
  return api;
}

async function etcdctl(store: TestStore, ...words: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, ETCDCTL_API: '3' };
  const { stdout } = await run('etcdctl', [`--endpoints=${store.url}`, ...words], { env });
  return stdout;
}

/** The line and the code that `weft store restore` ends with. */
async function restore(...words: string[]): Promise<{ readonly code: number; readonly line: string }> {
  try {
    const { stderr } = await run(WEFT, ['store', 'restore', ...words]);
    return { code: 0, line: stderr };
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return { code, line: stderr };
  }
}

test('weft store snapshot writes what etcdctl would, and it can be restored; a store that is away leaves no file', async (context) => {
  const { store, api } = await startStore(context);
  // More than one message of the answer.
  for (let n = 0; n < 20; n++) await api.call(api.kv, api.kv.put, put(`k${n}`, 'x'.repeat(20_000)));
  const [own, other] = [join(folder, 'own'), join(folder, 'other')];
  const { stderr } = await run(WEFT, ['store', 'snapshot', `--store=${store.url}`, own]);
  await etcdctl(store, 'snapshot', 'save', other);
  assert.equal((await stat(own)).size, (await stat(other)).size);
  assert.equal((await stat(own)).mode & 0o777, 0o600);
  assert.equal(stderr, `saved ${(await stat(own)).size} bytes of ${store.url} in ${own}\n`);
  const done = await restore(`--data=${join(folder, 'of-own.db')}`, own);
  assert.match(done.line, /^restored 20 keys /);
  const nobody = ['store', 'snapshot', '--store=http://127.0.0.1:1', join(folder, 'nothing')];
  await assert.rejects(run(WEFT, nobody), /cannot save a snapshot in .*; see that the store runs/);
  await assert.rejects(stat(join(folder, 'nothing.part')));
});

test('etcdctl snapshot save while writes go on, and restore: keys and leases are there, old watches list again', async (context) => {
  const { store, api } = await startStore(context);
  const value = 'x'.repeat(20_000);
  await api.call(api.lease, api.lease.leaseGrant, { ID: 5n, TTL: 600n });
  for (let n = 0; n < 200; n++) await api.call(api.kv, api.kv.put, put(`k${n}`, value, { lease: 5n }));
  await api.call(api.kv, api.kv.deleteRange, remove('k0'));
  const writePair = (number: number) => {
    const pair = ['left', 'right'].map((key) => putOp(put(key, String(number))));
    return api.call(api.kv, api.kv.txn, txn([], pair));
  };
  await writePair(0);
  let writing = true;
  const writes = (async () => {
    let pairs = 1;
    for (; writing; pairs++) await writePair(pairs);
    return pairs;
  })();
  const snapshot = join(folder, 'snapshot');
  await etcdctl(store, 'snapshot', 'save', snapshot);
  writing = false;
  const pairs = await writes;
  const { header } = await api.call(api.kv, api.kv.range, range('k1'));

  const restored = await TestStore.start();
  context.after(() => restored.remove());
  await restored.close();
  for (const name of [restored.data, `${restored.data}-wal`, `${restored.data}-reserve`]) {
    await rm(name, { force: true });
  }
  const done = await restore(`--data=${restored.data}`, snapshot);
  assert.match(done.line, /^restored 201 keys of .*, at revision 1000000\d+$/m);
  await restored.open();
  const again = connectTo(context, restored);
  const all = await again.call(again.kv, again.kv.range, range('\0', ALL));
  const values = new Map(all.kvs.map((kv) => [kv.key.toString(), kv.value.toString()]));
  assert.equal(values.size, 201);
  assert.equal(values.get('k199'), value);
  assert.equal(values.has('k0'), false);
  assert.equal(values.get('left'), values.get('right'), 'the snapshot is of one moment');
  assert.ok(Number(values.get('left') ?? 0) <= pairs);
  assert.ok((all.header?.revision ?? 0n) > (header?.revision ?? 0n));
  assert.notEqual(all.header?.clusterId, header?.clusterId);
  const { keys } = await again.call(again.lease, again.lease.leaseTimeToLive, { ID: 5n, keys: true });
  assert.equal(keys.length, 199);
  const watch = again.watch();
  context.after(() => watch.end());
  watch.create({ ...ALL, startRevision: (header?.revision ?? 0n) + 1n });
  await watch.next();
  const cancelled = await watch.next();
  assert.equal(cancelled.compactRevision, all.header?.revision);
  const next = await again.call(again.kv, again.kv.put, put('next', ''));
  assert.equal(next.header?.revision, (all.header?.revision ?? 0n) + 1n);
});

test('restore refuses what is there, what is damaged and what is no store', async (context) => {
  const { store } = await startStore(context);
  const snapshot = join(folder, 'good');
  await etcdctl(store, 'snapshot', 'save', snapshot);
  const data = join(folder, 'fresh.db');
  const bytes = await readFile(snapshot);
  const damaged = join(folder, 'damaged');
  bytes[5000] = (bytes[5000] ?? 0) ^ 1;
  await writeFile(damaged, bytes);
  const short = join(folder, 'short');
  await writeFile(short, bytes.subarray(0, bytes.length - 4096));
  const other = join(folder, 'other');
  await writeFile(other, Buffer.alloc(4096, 'no database'));
  for (const [words, line] of [
    [[`--data=${store.data}`, snapshot], /the file is there already; stop the store/],
    [[`--data=${data}`, damaged], /its checksum is wrong/],
    [[`--data=${data}`, short], /its checksum is wrong/],
    [[`--data=${data}`, other], /it is not a weft store/],
    [[`--data=${data}`, join(folder, 'none')], /no such file/],
    [[`--data=${data}`], /name the snapshot/],
  ] as const) {
    const refused = await restore(...words);
    assert.match(refused.line, line);
    assert.notEqual(refused.code, 0);
  }
  await assert.rejects(stat(data), /ENOENT/);
  // A copy of a store's file, made while it does not run, has no checksum and is taken as it is.
  await store.close();
  await copyFile(store.data, join(folder, 'copy'));
  assert.equal((await restore(`--data=${data}`, join(folder, 'copy'))).code, 0);
});

test('hashkv is the same for the same history, and another after a change', async (context) => {
  const stores = await Promise.all([startStore(context), startStore(context)]);
  const hashes = (revision: bigint) =>
    Promise.all(
      stores.map(({ api }) =>
        api.call(api.maintenance, api.maintenance.hashKv, { revision }).then(({ hash }) => hash),
      ),
    );
  for (const { api } of stores) {
    for (let n = 0; n < 50; n++) await api.call(api.kv, api.kv.put, put(`k${n % 7}`, String(n)));
  }
  const [first, second] = await hashes(0n);
  assert.equal(first, second);
  const [{ api, store }] = stores;
  await api.call(api.kv, api.kv.put, put('k1', 'other'));
  const [changed, unchanged] = await hashes(0n);
  assert.notEqual(changed, unchanged);
  assert.deepEqual(await hashes(51n), [first, first], 'of the past it is what it was');
  for (const { api } of stores) await api.call(api.kv, api.kv.compact, { revision: 40n, physical: true });
  const [compacted, same] = await hashes(51n);
  assert.equal(compacted, same);
  await assert.rejects(api.call(api.maintenance, api.maintenance.hashKv, { revision: 9n }), /compacted/);
  assert.match(await etcdctl(store, 'endpoint', 'hashkv'), /^http:\/\/127.0.0.1:\d+, \d+$/m);
});

test('defragmentation gives room back to the disk', async (context) => {
  const { store, api } = await startStore(context);
  for (let n = 0; n < 100; n++) await api.call(api.kv, api.kv.put, put('k', 'x'.repeat(100_000)));
  const { header } = await api.call(api.kv, api.kv.put, put('k', 'small'));
  await api.call(api.kv, api.kv.compact, { revision: header?.revision ?? 0n, physical: true });
  const before = await api.call(api.maintenance, api.maintenance.status, {});
  assert.ok(before.dbSize > 10_000_000n && before.dbSizeInUse < 2_000_000n);
  assert.match(await etcdctl(store, 'defrag'), /Finished defragmenting/);
  const now = await api.call(api.maintenance, api.maintenance.status, {});
  assert.ok(now.dbSize < 2_000_000n, `${now.dbSize} bytes`);
  assert.ok((await stat(store.data)).size < 2_000_000);
  assert.equal((await api.call(api.kv, api.kv.range, range('k'))).kvs[0]?.value.toString(), 'small');
});

test('the size of requests and the operations of a txn are limited as the flags say', async (context) => {
  const { api } = await startStore(context, { maxRequestBytes: 10_000, maxTxnOps: 3 });
  const ops = (count: number) => Array.from({ length: count }, (_, n) => putOp(put(`k${n}`, '')));
  await api.call(api.kv, api.kv.put, put('fits', 'x'.repeat(9_000)));
  await assert.rejects(
    api.call(api.kv, api.kv.put, put('large', 'x'.repeat(10_001))),
    /request is too large/,
  );
  await api.call(api.kv, api.kv.txn, txn([], ops(3)));
  await assert.rejects(api.call(api.kv, api.kv.txn, txn([], ops(4))), /too many operations/);
});

test('weft store get prints what put wrote, and says where there is nothing', async (t) => {
  const { store } = await startStore(t);
  const weft = (name: string, ...words: string[]) =>
    run(WEFT, ['store', name, `--store=${store.url}`, ...words]);
  await weft('put', '/a/config', '{"x":1}');
  assert.deepEqual(await weft('get', '/a/config'), { stdout: '{"x":1}\n', stderr: '' });
  await assert.rejects(weft('get', '/b'), {
    code: 1,
    stdout: '',
    stderr: /^weft store: there is no key \/b in /,
  });
  await assert.rejects(weft('get'), { code: 2, stderr: /^weft store get: name the key$/m });
});
