import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { EtcdServer } from '../support/etcd-server.ts';
import { unusedPort } from '../support/unused-port.ts';
import { StoreProcess } from './store-process.ts';

/**
 * etcd's own Go client on the store, with its recipes, and a history of reads, writes and comparisons that
 * porcupine checks while the store is killed again and again. The same runs against a real etcd show that the tests are
 * right. WEFT_LINEARIZE_SECONDS=60 makes the run the long one.
 */
const SECONDS = Number(process.env.WEFT_LINEARIZE_SECONDS ?? 20);
const KILL_EVERY_MS = 2_000;

const run = promisify(execFile);
const source = fileURLToPath(new URL('clients/go/', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'weft-go-clients-'));
after(() => rm(folder, { recursive: true, force: true }));
const program = join(folder, 'clients');
const skip = build();

/** Why there is no program, or false. */
function build(): string | false {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
  } catch {
    return 'etcd’s Go client: needs Go';
  }
  try {
    execFileSync('go', ['build', '-o', program, '.'], { cwd: source, stdio: 'pipe', timeout: 300_000 });
    return false;
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer };
    const text = stderr?.toString() ?? '';
    // Without a way to the modules nothing can be built; anything else is an error of the program.
    if (
      /dial tcp|no such host|module lookup disabled|i\/o timeout|timed out|reading https?:\S+ \d{3}/i.test(
        text,
      )
    ) {
      return 'etcd’s Go client: its modules can’t be fetched';
    }
    throw new Error(text, { cause: error });
  }
}

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

async function startEtcd(scope: Scope): Promise<EtcdServer> {
  const etcd = await EtcdServer.start();
  scope.after(() => etcd.stop());
  return etcd;
}

test('mutex, election and STM of etcd’s Go client work as at etcd', { skip }, async (context) => {
  const etcd = await startEtcd(context);
  const store = await StoreProcess.start();
  context.after(() => store.remove());
  for (const { url } of [etcd, store]) {
    const { stdout } = await run(program, ['recipes', url], { timeout: 120_000 });
    assert.equal(stdout, 'mutex ok\nelection ok\nstm ok\n');
  }
});

/** Kills the server and starts it again, until the signal comes; returns how often. */
async function killAgainAndAgain(restart: () => Promise<void>, signal: AbortSignal): Promise<number> {
  for (let kills = 0; ; kills++) {
    await delay(KILL_EVERY_MS, undefined, { signal }).catch(() => {});
    if (signal.aborted) return kills;
    await restart();
  }
}

async function linearize(url: string, restart: () => Promise<void>) {
  const stop = new AbortController();
  const kills = killAgainAndAgain(restart, stop.signal);
  try {
    const timeout = (SECONDS + 180) * 1000;
    const { stdout } = await run(program, ['linearize', url, String(SECONDS)], { timeout });
    stop.abort();
    return { stdout: stdout.trim(), kills: await kills };
  } finally {
    stop.abort();
    await kills;
  }
}

test('under kill -9 every two seconds the store is linearizable', { skip }, async (context) => {
  const port = await unusedPort();
  let store = await StoreProcess.start({ folder, port });
  context.after(() => store.kill());
  const { stdout, kills } = await linearize(store.url, async () => {
    await store.kill();
    store = await StoreProcess.start({ folder, port });
  });
  context.diagnostic(`store: ${kills} kills, ${stdout}`);
  assert.match(stdout, /: Ok$/);
  assert.ok(kills > 0, 'it must have been killed');
});

test('the same check passes at a real etcd', { skip }, async (context) => {
  const etcd = await startEtcd(context);
  const { stdout, kills } = await linearize(etcd.url, async () => {
    await etcd.kill();
    await etcd.launch();
  });
  context.diagnostic(`etcd: ${kills} kills, ${stdout}`);
  assert.match(stdout, /: Ok$/);
});
