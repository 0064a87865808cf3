import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { until } from '#src/sys/until.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { put, range } from './script.ts';
import { StoreProcess } from './store-process.ts';

const run = promisify(execFile);
const skip =
  process.getuid?.() === 0 && existsSync('/dev/loop-control')
    ? false
    : 'mounts a filesystem: needs root and loop devices';
const TTL_S = 2n;
/** Longer than a lease, and than etcd waits for its disk. */
const STALL_MS = 6_000;

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

/** An ext4 of its own, which fails as a disk does, and the stores on it. */
async function failingDisk(scope: Scope) {
  const home = await mkdtemp(join(tmpdir(), 'weft-store-disk-'));
  const [image, folder] = [join(home, 'image'), join(home, 'disk')];
  const stores: StoreProcess[] = [];
  let frozen = false;
  await run('truncate', ['-s', '64M', image]);
  await run('mkfs.ext4', ['-q', image]);
  await mkdir(folder);
  const mount = (disk: string) => run('mount', ['-o', 'loop,errors=remount-ro', disk, folder]);
  await mount(image);
  const unmount = async () => {
    for (const store of stores) await store.kill();
    await run('umount', [folder]);
  };
  const thaw = async () => {
    frozen = false;
    await run('fsfreeze', ['--unfreeze', folder]);
  };
  scope.after(async () => {
    if (frozen) await thaw();
    await unmount();
    await rm(home, { recursive: true });
  });
  return {
    /** No write and no fsync ends until {@link thaw}. */
    async freeze(): Promise<void> {
      frozen = true;
      await run('fsfreeze', ['--freeze', folder]);
    },
    thaw,
    /** The kernel finds the filesystem damaged, and lets nobody write any more. */
    async fail(): Promise<void> {
      const { stdout } = await run('findmnt', ['--noheadings', '--output', 'SOURCE', folder]);
      await writeFile(`/sys/fs/ext4/${basename(stdout.trim())}/trigger_fs_error`, '1');
    },
    /** The administrator mounts it again: a copy, as another mount namespace may hold the failed one. */
    async mend(): Promise<void> {
      await unmount();
      const copy = join(home, 'copy');
      await run('cp', ['--sparse=always', image, copy]);
      await mount(copy);
    },
    async start() {
      const store = await StoreProcess.start({ folder });
      stores.push(store);
      const api = new EtcdApi(store.url);
      scope.after(() => api.close());
      return { store, api };
    },
  };
}

async function doPut(api: EtcdApi, key: string): Promise<boolean> {
  return !('error' in (await api.answer(api.kv, api.kv.put, put(key, key))));
}

async function get(api: EtcdApi, key: string): Promise<string | undefined> {
  return (await api.call(api.kv, api.kv.range, range(key))).kvs[0]?.value.toString();
}

test('a disk that hangs for longer than a lease ends no lease, and loses no write', {
  skip,
}, async (context) => {
  const disk = await failingDisk(context);
  const { api } = await disk.start();
  await api.call(api.lease, api.lease.leaseGrant, { ID: 5n, TTL: TTL_S });
  // From the grant on: to freeze a disk may take as long as a lease.
  const renewals: Promise<bigint>[] = [];
  const renew = () => renewals.push(api.keepAlive(5n));
  const renewing = setInterval(renew, 500);
  context.after(() => clearInterval(renewing));
  renew();
  await disk.freeze();
  const writing = doPut(api, 'during');
  await new Promise((resolve) => setTimeout(resolve, STALL_MS));
  await disk.thaw();
  assert.equal(await writing, true);
  assert.equal(await get(api, 'during'), 'during');
  clearInterval(renewing);
  for (const renewed of await Promise.all(renewals)) assert.equal(renewed, TTL_S);
  // A lease that nobody renews any more still ends.
  await until(async () => (await api.call(api.lease, api.lease.leaseLeases, {})).leases.length === 0, {
    what: 'the end of the lease',
    timeoutMs: 20_000,
  });
});

test('a disk that becomes read-only: the store ends and says why, and has what it acknowledged', {
  skip,
}, async (context) => {
  const disk = await failingDisk(context);
  const { store, api } = await disk.start();
  const acknowledged: string[] = [];
  for (let n = 0; n < 20; n++) if (await doPut(api, `k${n}`)) acknowledged.push(`k${n}`);
  assert.equal(acknowledged.length, 20);
  await disk.fail();
  assert.equal(await doPut(api, 'refused'), false);
  assert.match(await store.end(), /disk I\/O error|readonly database|read-only/);
  await assert.rejects(disk.start(), /cannot open .*: its disk does not take writes/);
  await disk.mend();
  const again = await disk.start();
  for (const key of acknowledged) assert.equal(await get(again.api, key), key);
  assert.equal(await doPut(again.api, 'after'), true);
});
