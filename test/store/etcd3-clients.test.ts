import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { selfSigned } from '../support/certificates.ts';
import { EtcdServer, type EtcdServerOptions } from '../support/etcd-server.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { TestStore } from '../support/store.ts';

/**
 * Clients of etcd's API on gRPC implementations that the store was not made with: python-etcd3, whose gRPC is in C, and
 * npm's etcd3, which has recipes of its own. The same program is run at a real etcd and at the store; what it writes has
 * to be the same.
 */
const SCRIPT = fileURLToPath(new URL('../../script/store-clients', import.meta.url));
const USER = 'root';
const PASSWORD = 'secret';

const run = promisify(execFile);
const source = (file: string): string => fileURLToPath(new URL(`clients/${file}`, import.meta.url));

interface Client {
  readonly name: string;
  /** Why it can't run here; `false` when it can. */
  readonly skip: string | false;
  /** The calls whose answers it writes must at least be so many. */
  readonly calls: number;
  run(url: string, login: readonly string[]): Promise<string>;
}

function pythonClient(): Client {
  const folder = folderOf('python');
  const env = { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
  const load = ['-W', 'ignore', '-c', 'import etcd3, grpc'];
  const loads = (): boolean => spawnSync('python3', load, { env, stdio: 'ignore' }).status === 0;
  const missing = whyMissing(folder);
  return {
    name: 'python-etcd3',
    skip: missing === false && !loads() ? `${folder} does not work with this python3` : missing,
    calls: 70,
    async run(url, login) {
      const args = ['-W', 'ignore', source('python/recipes.py'), new URL(url).port, ...login];
      return (await run('python3', args, { env, timeout: 120_000 })).stdout;
    },
  };
}

function nodeClient(): Client {
  const folder = folderOf('node');
  return {
    name: 'npm’s etcd3',
    skip: whyMissing(folder),
    calls: 65,
    async run(url, login) {
      // Over TLS it takes no address for the server's name.
      const host = url.startsWith('https:') ? url.replace('127.0.0.1', 'localhost') : url;
      const args = [source('node/recipes.mjs'), folder, host, ...login];
      return (await run(process.execPath, args, { timeout: 120_000 })).stdout;
    },
  };
}

function folderOf(name: string): string {
  return execFileSync(SCRIPT, ['--folder', name], { encoding: 'utf8' }).trim();
}

function whyMissing(folder: string): string | false {
  if (existsSync(folder)) return false;
  return existsSync(`${folder}.reason`)
    ? readFileSync(`${folder}.reason`, 'utf8').trim()
    : 'script/store-clients installs it';
}

async function startEtcd(context: TestContext, options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const etcd = await EtcdServer.start(options);
  context.after(() => etcd.stop());
  return etcd;
}

async function startStore(
  context: TestContext,
  options: Parameters<typeof TestStore.start>[0] = {},
): Promise<TestStore> {
  const store = await TestStore.start(options);
  context.after(() => store.remove());
  return store;
}

for (const { name, skip, calls, run: ask } of [pythonClient(), nodeClient()]) {
  test(`${name}: keys, transactions, leases, locks, watches as at etcd`, { skip }, async (context) => {
    const etcd = await startEtcd(context);
    const store = await startStore(context);
    const [theirs, ours] = await Promise.all([ask(etcd.url, []), ask(store.url, [])]);
    assert.deepEqual(ours.split('\n'), theirs.split('\n'));
    const lines = ours.trim().split('\n').length;
    assert.ok(lines >= calls, `only ${lines} lines`);
    context.diagnostic(`${lines} lines, the same at both`);
  });

  test(`${name}: a login, a wrong one and none as at etcd, over TLS`, { skip }, async (context) => {
    const { certFile, keyFile, cert, key } = await selfSigned(scratchFolder(context), 'server');
    const etcd = await startEtcd(context, {
      scheme: 'https',
      args: [`--cert-file=${certFile}`, `--key-file=${keyFile}`],
      ctlArgs: [`--cacert=${certFile}`],
    });
    await etcd.ctl('user', 'add', `${USER}:${PASSWORD}`);
    await etcd.ctl('auth', 'enable');
    const users = new Map([[USER, PASSWORD]]);
    const store = await startStore(context, { tls: { cert, key }, users });
    const login = [USER, PASSWORD, certFile];
    const [theirs, ours] = await Promise.all([ask(etcd.url, login), ask(store.url, login)]);
    assert.deepEqual(ours.split('\n'), theirs.split('\n'));
    context.diagnostic(ours.trim().replaceAll('\n', '; '));
  });
}
