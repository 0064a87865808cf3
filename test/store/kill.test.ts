import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EtcdApi } from '../support/etcd-api.ts';
import { ALL, put, putOp, range, txn } from './script.ts';

const KILLS = 100;
/** Stores that are killed side by side, each with a file of its own. */
const LANES = 2;
const WRITERS = 8;

/** A write that was acknowledged. */
interface Acknowledged {
  readonly key: string;
  readonly value: string;
  readonly revision: bigint;
}

/** One store and what it promised. */
class Lane {
  readonly acknowledged: Acknowledged[] = [];
  readonly #folder: string;
  #sequence = 0;
  #server: ChildProcess | undefined;
  #api: EtcdApi | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Starts the store and returns the revision it comes up with. */
  async start(): Promise<bigint> {
    const program = fileURLToPath(new URL('serve.ts', import.meta.url));
    const server = spawn(process.execPath, [program, join(this.#folder, 'store.db')], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.#folder, 'cache') },
    });
    this.#server = server;
    const [url] = await once(server.stdout, 'data');
    this.#api = new EtcdApi(String(url).trim());
    const { header } = await this.#api.call(this.#api.kv, this.#api.kv.range, range('nothing'));
    return header?.revision ?? 0n;
  }

  /** Writes from all writers until the store is killed in the middle of it. */
  async writeUntilKilled(afterMs: number): Promise<void> {
    const writers = Array.from({ length: WRITERS }, (_, writer) => this.#write(writer));
    await delay(afterMs);
    await this.kill();
    await Promise.all(writers);
  }

  async kill(): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  }

  close(): void {
    this.#api?.close();
  }

  /** Everything that ever happened, by revision, as a watch from the beginning sees it. */
  async history(current: bigint): Promise<Map<bigint, Map<string, string>>> {
    assert.ok(this.#api);
    const watch = this.#api.watch();
    watch.create({ ...ALL, startRevision: 2n });
    const history = new Map<bigint, Map<string, string>>();
    await watch.until(({ events }) => {
      for (const { kv } of events) {
        assert.ok(kv);
        const changes = history.get(kv.modRevision) ?? new Map<string, string>();
        changes.set(kv.key.toString(), kv.value.toString());
        history.set(kv.modRevision, changes);
      }
      return current < 2n || history.has(current);
    });
    watch.end();
    return history;
  }

  /** Half of the writes are of two keys at once, which belong to one revision or to none. */
  async #write(writer: number): Promise<void> {
    const api = this.#api;
    assert.ok(api);
    for (;;) {
      const value = String(this.#sequence++);
      const keys = writer % 2 === 0 ? [`w${writer}`] : [`w${writer}`, `also${writer}`];
      const request = txn(
        [],
        keys.map((key) => putOp(put(key, value))),
      );
      let revision: bigint;
      try {
        revision = (await api.call(api.kv, api.kv.txn, request)).header?.revision ?? 0n;
      } catch {
        return;
      }
      for (const key of keys) this.acknowledged.push({ key, value, revision });
    }
  }
}

test(`what is acknowledged survives ${KILLS} times kill -9, and no revision goes back`, async (context) => {
  const lanes = await Promise.all(
    Array.from({ length: LANES }, async () => {
      const folder = await mkdtemp(join(tmpdir(), 'weft-store-kill-'));
      const lane = new Lane(folder);
      context.after(async () => {
        await lane.kill();
        await rm(folder, { recursive: true, force: true });
      });
      return lane;
    }),
  );
  const results = await Promise.all(
    lanes.map(async (lane, number) => {
      let highest = 1n;
      for (let kill = 0; kill < KILLS / LANES; kill++) {
        const revision = await lane.start();
        assert.ok(revision >= highest, `revision ${revision} after ${highest} was acknowledged`);
        highest = revision;
        // Different moments: in the first writes, in the middle of a commit, between two.
        await lane.writeUntilKilled(10 + ((kill * 37 + number * 13) % 100));
        lane.close();
        for (const { revision } of lane.acknowledged) if (revision > highest) highest = revision;
      }
      const current = await lane.start();
      const history = await lane.history(current);
      lane.close();
      const missing = lane.acknowledged.filter(
        ({ key, value, revision }) => history.get(revision)?.get(key) !== value,
      );
      assert.deepEqual(missing, []);
      for (let revision = 2n; revision <= current; revision++) {
        const changes = history.get(revision);
        assert.ok(changes, `revision ${revision} of ${current} is missing`);
        for (const [key, value] of changes) {
          if (key.startsWith('also')) assert.equal(changes.get(key.replace('also', 'w')), value);
        }
      }
      return { acknowledged: lane.acknowledged.length, current };
    }),
  );
  const acknowledged = results.reduce((sum, result) => sum + result.acknowledged, 0);
  const revisions = results.map(({ current }) => current).join(' and ');
  context.diagnostic(
    `${KILLS} kills, ${acknowledged} acknowledged writes, 0 missing; revisions ${revisions}`,
  );
  assert.ok(acknowledged > KILLS, 'the load must have been written');
});
