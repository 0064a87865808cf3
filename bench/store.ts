import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PutRequest } from '#src/etcd/rpc.ts';
import { EtcdApi } from '../test/support/etcd-api.ts';
import { EtcdServer } from '../test/support/etcd-server.ts';
import { unusedPort } from '../test/support/unused-port.ts';
import { peerLeases } from './leases.ts';
import { figure, quantile } from './statistics.ts';

/**
 * The embedded store and a real etcd of one member, each in a process of its own, one after the
 * other in the same run: `node bench/store.ts`. 10,000 leases with a key each, then 200 watchers,
 * each on a connection of its own. The clients are one process, whose own work on 200 copies of
 * each event is part of every figure.
 */
const LEASES = 10_000;
const WATCHERS = 200;
const CONCURRENT = 64;
/** Single puts, this long apart: each is measured from its start to its arrival at every watcher. */
const SINGLE_PUTS = 100;
const PAUSE_MS = 50;
const BURST = 1_000;
const PREFIX = '/bench/network/subnets/';
const BELOW = { key: Buffer.from(PREFIX), rangeEnd: Buffer.from('/bench/network/subnets0') };

interface Figures {
  readonly [name: string]: number;
}

/** Runs `count` tasks, a fixed number at a time; returns tasks per second. */
async function rate(
  count: number,
  concurrent: number,
  task: (n: number) => Promise<unknown>,
): Promise<number> {
  const begin = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: concurrent }, lane));
  return (count * 1000) / (performance.now() - begin);
}

async function measure(url: string): Promise<Figures> {
  const api = new EtcdApi(url);
  const leases = [...peerLeases(0, LEASES)];
  const putLease = (n: number): Promise<unknown> => {
    const [name, value] = leases[n % LEASES] ?? ['', ''];
    const request = PutRequest.create({
      key: Buffer.from(PREFIX + name),
      value: Buffer.from(value),
      lease: BigInt(n % LEASES) + 1n,
    });
    return api.call(api.kv, api.kv.put, request);
  };
  const grants = await rate(LEASES, CONCURRENT, async (n) => {
    await api.call(api.lease, api.lease.leaseGrant, { ID: BigInt(n) + 1n, TTL: 86_400n });
    await putLease(n);
  });
  const serial = await rate(300, 1, putLease);
  const puts = await rate(BURST, CONCURRENT, putLease);

  const arrivals: number[] = [];
  let begun = 0;
  let seen = 0;
  const watching = await Promise.all(
    Array.from({ length: WATCHERS }, async () => {
      const watcher = new EtcdApi(url);
      const watch = watcher.watch();
      watch.create(BELOW);
      await watch.next();
      const read = async (): Promise<void> => {
        for (;;) {
          const { events } = await watch.next();
          arrivals.push(performance.now() - begun);
          seen += events.length;
        }
      };
      // Ends when the watch is cancelled.
      read().catch(() => {});
      return { watcher, watch };
    }),
  );
  const acknowledged: number[] = [];
  for (let n = 0; n < SINGLE_PUTS; n++) {
    begun = performance.now();
    await putLease(n * 37);
    acknowledged.push(performance.now() - begun);
    await delay(PAUSE_MS);
  }
  while (seen < SINGLE_PUTS * WATCHERS) await delay(10);
  const latencies = [...arrivals];

  seen = 0;
  const begin = performance.now();
  const watchedPuts = await rate(BURST, CONCURRENT, putLease);
  while (seen < BURST * WATCHERS) await delay(1);
  const delivered = (BURST * WATCHERS * 1000) / (performance.now() - begin);
  for (const { watcher, watch } of watching) {
    watch.end();
    watcher.close();
  }
  api.close();
  return {
    [`${LEASES} leases granted and put, per s`]: grants,
    'puts, one after the other, per s': serial,
    [`puts, ${CONCURRENT} at a time, per s`]: puts,
    [`put acknowledged with ${WATCHERS} watchers, p50, ms`]: quantile(acknowledged, 0.5),
    'put acknowledged, p99, ms': quantile(acknowledged, 0.99),
    [`put to watch, ${WATCHERS} watchers, p50, ms`]: quantile(latencies, 0.5),
    'put to watch, p99, ms': quantile(latencies, 0.99),
    [`puts with ${WATCHERS} watchers, ${CONCURRENT} at a time, per s`]: watchedPuts,
    'events delivered to watchers, per s': delivered,
  };
}

async function startStore(folder: string): Promise<{ child: ChildProcess; url: string }> {
  const port = await unusedPort();
  const weft = fileURLToPath(new URL('../bin/weft', import.meta.url));
  const words = ['store', 'serve', '--data', join(folder, 'store.db'), '--listen', `127.0.0.1:${port}`];
  const child = spawn(weft, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  await once(child.stderr, 'data');
  return { child, url: `127.0.0.1:${port}` };
}

const folder = await mkdtemp(join(tmpdir(), 'weft-bench-store-'));
try {
  const etcd = await EtcdServer.start();
  const theirs = await measure(etcd.url).finally(() => etcd.stop());
  const { child, url } = await startStore(folder);
  const ours = await measure(url).finally(() => child.kill('SIGTERM'));
  console.log(`| | etcd | weft store |\n|---|---:|---:|`);
  for (const [name, value] of Object.entries(theirs)) {
    console.log(`| ${name} | ${figure(value)} | ${figure(ours[name] ?? Number.NaN)} |`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
