import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { EtcdApi } from '../support/etcd-api.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { TestStore } from '../support/store.ts';
import { comparable, put, putOp, range, rangeOp, remove, removeOp, txn } from './script.ts';
import { StoreProcess } from './store-process.ts';

const run = promisify(execFile);
const NOSPACE = 1;
const NO_ROOM = 'RESOURCE_EXHAUSTED etcdserver: mvcc: database space exceeded';

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

function connectTo(scope: Scope, url: string): EtcdApi {
  const api = new EtcdApi(url);
  scope.after(() => api.close());
  return api;
}

const outcome = (answer: object): unknown => ('error' in answer ? answer.error : 'done');
const doPut = (api: EtcdApi, key: string, value = '') =>
  api.answer(api.kv, api.kv.put, put(key, value)).then(outcome);

/** What a server answers while NOSPACE is raised: only what needs no room passes. */
async function underAlarm(api: EtcdApi): Promise<unknown[]> {
  const { kv, lease, maintenance } = api;
  const own = (await api.call(maintenance, maintenance.status, {})).header?.memberId ?? 0n;
  const alarm = (action: number, kind = 0) =>
    api.answer(maintenance, maintenance.alarm, { action, memberID: own, alarm: kind });
  const answers = [
    await alarm(1, 1),
    await doPut(api, 'a'),
    await api.answer(kv, kv.txn, txn([], [putOp(put('a', ''))])).then(outcome),
    await api.answer(kv, kv.txn, txn([], [rangeOp(range('a'))], [putOp(put('a', ''))])).then(outcome),
    await api.answer(kv, kv.txn, txn([], [rangeOp(range('a')), removeOp(remove('none'))])).then(outcome),
    await api.answer(lease, lease.leaseGrant, { ID: 99n, TTL: 60n }).then(outcome),
    await api.answer(kv, kv.range, range('a')).then(outcome),
    await api.answer(kv, kv.deleteRange, remove('b')).then(outcome),
    await api.keepAlive(5n),
    await api.answer(lease, lease.leaseRevoke, { ID: 5n }).then(outcome),
    await api.answer(kv, kv.compact, { revision: 2n, physical: true }).then(outcome),
    await alarm(0),
    (await api.call(maintenance, maintenance.status, {})).errors.map((text) =>
      text.replace(/memberID:\d+ /, ''),
    ),
    await alarm(2),
    await alarm(2, 1),
    await alarm(0),
    await doPut(api, 'a'),
  ];
  const neutral = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value).replaceAll(/"memberID":"\d+n"/g, '"memberID":"0n"'));
  return answers.map((answer) => neutral(comparable(answer)));
}

test('with NOSPACE raised the store refuses and lets pass what etcd does', async (context) => {
  const etcd = await EtcdServer.start();
  context.after(() => etcd.stop());
  const store = await TestStore.start();
  context.after(() => store.remove());
  const answers = await Promise.all(
    [etcd.url, store.url].map(async (url) => {
      const api = connectTo(context, url);
      await api.call(api.lease, api.lease.leaseGrant, { ID: 5n, TTL: 60n });
      for (const key of ['a', 'b']) await doPut(api, key);
      return underAlarm(api);
    }),
  );
  assert.deepEqual(answers[1], answers[0]);
  assert.ok(JSON.stringify(answers[0]).includes('space exceeded'));
});

test('the quota raises NOSPACE, which outlasts a restart and ends when it is disarmed', async (context) => {
  const store = await TestStore.start({ quota: 2n << 20n });
  context.after(() => store.remove());
  const api = connectTo(context, store.url);
  const { maintenance } = api;
  const value = 'x'.repeat(100_000);
  let written = 0;
  while ((await doPut(api, `k${written}`, value)) === 'done') written++;
  assert.ok(written > 10 && written < 25, `${written} values of 100 kB in 2 MB`);
  const health = await fetch(`${store.url}/health`);
  assert.deepEqual([health.status, await health.json()], [503, { health: 'false' }]);
  await store.close();
  await store.open();
  const again = connectTo(context, store.url);
  assert.equal(await doPut(again, 'small'), NO_ROOM);
  const all = { rangeEnd: Buffer.from('l') };
  assert.equal((await again.call(again.kv, again.kv.deleteRange, remove('k', all))).deleted, BigInt(written));
  const { header } = await again.call(again.kv, again.kv.range, range('k'));
  await again.call(again.kv, again.kv.compact, { revision: header?.revision ?? 0n, physical: true });
  assert.equal(await doPut(again, 'small'), NO_ROOM, 'until it is disarmed');
  const own = header?.memberId ?? 0n;
  const disarm = { action: 2, memberID: own, alarm: NOSPACE };
  assert.equal((await again.call(again.maintenance, maintenance.alarm, disarm)).alarms.length, 1);
  assert.equal(await doPut(again, 'small'), 'done');
  await store.close();
  await store.open();
  assert.equal(await doPut(connectTo(context, store.url), 'small'), 'done');
});

/** A disk of its own, 40 MB, and the stores on it. */
async function smallDisk(scope: Scope) {
  const stores: StoreProcess[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'weft-store-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', folder]);
  scope.after(async () => {
    for (const store of stores) await store.kill();
    await run('umount', [folder]);
    await rm(folder, { recursive: true });
  });
  const start = async () => {
    const store = await StoreProcess.start({ folder });
    stores.push(store);
    return { store, api: connectTo(scope, store.url) };
  };
  return { folder, start };
}

const skip = process.getuid?.() === 0 ? false : 'mounts a filesystem: needs root';

test('a full disk: reads go on, clients can make room, a killed store starts, and it recovers', {
  skip,
}, async (context) => {
  const { folder, start } = await smallDisk(context);
  const { store, api } = await start();
  for (const n of [1, 2, 3]) assert.equal(await doPut(api, `f${n}`, `v${n}`), 'done');
  await fillDisk(folder);
  const acknowledged: string[] = [];
  for (let n = 0; n < 5000; n++) {
    const key = `g${n}`;
    if ((await doPut(api, key, 'x'.repeat(2000))) !== 'done') break;
    acknowledged.push(key);
  }
  assert.ok(acknowledged.length < 5000, 'the disk must have become full');
  assert.equal(await doPut(api, 'more'), NO_ROOM);
  const get = async (at: EtcdApi, key: string) =>
    (await at.call(at.kv, at.kv.range, range(key))).kvs[0]?.value.toString();
  assert.equal(await get(api, 'f1'), 'v1');
  assert.equal((await api.call(api.kv, api.kv.deleteRange, remove('f2'))).deleted, 1n);
  await api.call(api.kv, api.kv.compact, { revision: 3n, physical: true });

  await store.kill();
  await fillDisk(folder);
  const second = await start();
  assert.equal(await get(second.api, 'f1'), 'v1');
  assert.equal(await get(second.api, 'f2'), undefined);
  for (const key of acknowledged) assert.equal((await get(second.api, key))?.length, 2000, key);

  for (const name of await readdir(folder)) if (name.startsWith('filler')) await rm(join(folder, name));
  // The store looks every few seconds whether there is room again.
  for (const end = Date.now() + 60_000; (await doPut(second.api, 'again', '1')) !== 'done'; ) {
    assert.ok(Date.now() < end, 'it must recover by itself');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.equal(await get(second.api, 'again'), '1');
});

let fillers = 0;
async function fillDisk(folder: string): Promise<void> {
  for (let size = 8 << 20; size >= 1024; size >>= 1) {
    for (;;) {
      const path = join(folder, `filler${fillers++}`);
      try {
        await writeFile(path, Buffer.alloc(size, 1));
      } catch {
        await rm(path, { force: true });
        break;
      }
    }
  }
}
