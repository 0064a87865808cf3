/**
 * The process that plays hosts: it reads commands as lines of JSON and answers each with a line. bench/scale/load-process.ts is
 * its other end.
 */
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { DeleteRangeRequest, RangeRequest, RangeResponse } from '#src/etcd/rpc.ts';
import { patienceAmong, watchPatience } from '#src/registry/etcd-v3-options.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, peerLease } from '../leases.ts';
import { ConnectionPool } from './connection-pool.ts';
import { etcdFigures } from './etcd-figures.ts';
import type { Command, Counts, Put } from './load-commands.ts';
import { PlayedHost } from './played-host.ts';
import { RANGE, type Tally } from './played-watch.ts';
import { Wheel } from './wheel.ts';

const DELETE = '/etcdserverpb.KV/DeleteRange';
/** Requests under way at a time. */
const WIDTH = 64;
/** etcd gives up what takes it more than 7 s. */
const ATTEMPTS = 5;
const TICK_MS = 100;
const PING_MS = 6_000;
const QUIET_MS = 500;
const WAIT_MS = 300_000;

const wheel = new Wheel();
const tally: Tally = { asked: 0, late: 0, longestMs: 0, heard: 0, open: 0 };
const hosts = new Map<number, PlayedHost>();
let pool = new ConnectionPool([], 1);
/** For writes of the measurement itself. */
let own = new ConnectionPool([], 1);
let total = 0;
let patience = watchPatience({});
/** Seconds between two renewals of a host. */
let renewEvery = Number.POSITIVE_INFINITY;
let renewed = 0;
let owed = 0;

const epoch = (): number => performance.timeOrigin + performance.now();

setInterval(() => {
  // Each host renews at a time of its own, as hosts do that were not started at once.
  owed += (hosts.size / renewEvery) * (TICK_MS / 1_000);
  if (owed < 1) return;
  const all = [...hosts.values()];
  for (; owed >= 1; owed--) all[renewed++ % all.length]?.renew().catch(() => {});
}, TICK_MS);
setInterval(() => void pool.ping(), PING_MS);

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await run(JSON.parse(line) as Command).then(
    (result) => ({ result: result ?? null }),
    (error: Error) => ({ error: error.message }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);

async function run(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'connect':
      return connect(command);
    case 'fill':
      return fill(command.from, command.to, command.ttl, command.bytes);
    case 'watch':
      return watchAll();
    case 'renew':
      renewEvery = command.every;
      return undefined;
    case 'counts':
      return counts();
    case 'figures':
      return etcdFigures(await (await fetch(command.url)).text());
    case 'puts':
      return puts(command.from, command.to, command.ttl, command.pauseMs);
    case 'join':
      return join(command.from, command.to, command.ttl);
    case 'leave':
      return leave(command.from, command.to);
    case 'die':
      return die(command.from, command.to);
    case 'expired':
      return expired(command.events);
    case 'failover':
      return failover();
  }
}

function connect({ members, shared, hosts: count, quietMs }: Command & { readonly do: 'connect' }): void {
  pool = new ConnectionPool(members, shared);
  own = new ConnectionPool(members, 1);
  total = count;
  patience = patienceAmong(watchPatience({}), () => count);
  if (quietMs !== undefined) patience = watchPatience({ watchQuietMs: quietMs });
}

function parts() {
  return { wheel, tally, hosts: total, patience };
}

/** Hosts that hold a lease and do not watch yet. Milliseconds. */
async function fill(from: number, to: number, ttl: number, bytes: number): Promise<number> {
  const began = performance.now();
  await each(from, to, async (n) => {
    const host = new PlayedHost(n, { ...parts(), pool });
    await host.take(ttl, bytes);
    hosts.set(n, host);
  });
  const ms = performance.now() - began;
  await quiet();
  return ms;
}

/** All watch. Milliseconds until each of their watches was answered. */
async function watchAll(): Promise<number> {
  const began = performance.now();
  const revision = await presentRevision();
  const waiting = [...hosts.values()].filter((host) => !host.isWatching);
  await each(0, waiting.length, async (at) => {
    await waiting[at]?.watch(revision);
  });
  await whenAllWatch();
  return performance.now() - began;
}

async function whenAllWatch(): Promise<void> {
  await until(() => tally.open === 2 * hosts.size, {
    what: `${2 * hosts.size} watches`,
    timeoutMs: WAIT_MS,
    intervalMs: 1,
  }).catch((cause) => {
    throw new Error(`${tally.open} watches instead of ${2 * hosts.size}`, { cause });
  });
}

function counts(): Counts {
  const now = { ...tally, renewed, connections: pool.connections, processor: process.cpuUsage() };
  tally.longestMs = 0;
  const { user, system } = now.processor;
  return { ...now, processor: (user + system) / 1e6 };
}

/** New hosts' leases one by one, which no host of ours holds: when each was sent, answered, and heard by all. */
async function puts(from: number, to: number, ttl: number, pauseMs: number): Promise<Put[]> {
  const found: Put[] = [];
  for (let n = from; n < to; n++) {
    const host = new PlayedHost(n, { ...parts(), pool: own });
    const before = tally.heard;
    const sent = epoch();
    await host.take(ttl);
    const answered = epoch();
    await heard(before, 1);
    found.push({ n, sent, answered, heard: epoch() });
    await delay(pauseMs);
  }
  return found;
}

/** New hosts, all at once, with all that a start asks for. */
async function join(from: number, to: number, ttl: number): Promise<{ ms: number; listed: number }> {
  const began = performance.now();
  let listed = 0;
  await each(from, to, async (n) => {
    const host = new PlayedHost(n, { ...parts(), pool });
    listed = await host.list();
    const revision = await host.take(ttl);
    hosts.set(n, host);
    await host.watch(revision);
  });
  await whenAllWatch();
  const ms = performance.now() - began;
  await quiet();
  return { ms, listed };
}

/** Removes the leases of hosts at once: when the first was sent, all were answered, and all were heard. */
async function leave(from: number, to: number): Promise<Put> {
  const connection = await own.get(0, 0);
  const before = tally.heard;
  const sent = epoch();
  await each(from, to, async (n) => {
    const key = Buffer.from(`${PREFIX}/subnets/${peerLease(n)[0]}`);
    const request = DeleteRangeRequest.encode({ key, rangeEnd: Buffer.alloc(0), prevKv: false }).finish();
    for (let attempt = 1; ; attempt++) {
      try {
        await connection.ask(DELETE, request);
        return;
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
    }
  });
  const answered = epoch();
  await heard(before, to - from);
  return { n: from, sent, answered, heard: epoch() };
}

/** Hosts that are gone from one moment to the next; their leases stay. */
async function die(from: number, to: number): Promise<void> {
  await each(from, to, async (n) => {
    await hosts.get(n)?.die();
    hosts.delete(n);
  });
}

/** Waits for the end of leases: when the first event came, and the last. */
async function expired(events: number): Promise<Put> {
  const before = tally.heard;
  await until(() => tally.heard > before, { what: 'end of a lease', timeoutMs: WAIT_MS, intervalMs: 1 });
  const sent = epoch();
  await heard(before, events);
  return { n: 0, sent, answered: sent, heard: epoch() };
}

/** Waits until watches were lost and all are there again: when the first was lost, and when the last was there. */
async function failover(): Promise<{ lost: number; back: number; most: number }> {
  const all = 2 * hosts.size;
  await until(() => tally.open < all, { what: 'watch that is lost', timeoutMs: WAIT_MS, intervalMs: 1 });
  const lost = epoch();
  let most = 0;
  await until(
    () => {
      most = Math.max(most, all - tally.open);
      return tally.open === all;
    },
    { what: `${all} watches again`, timeoutMs: WAIT_MS, intervalMs: 1 },
  );
  return { lost, back: epoch(), most };
}

/** Until each host that watches has heard so many events more. */
async function heard(before: number, events: number): Promise<void> {
  const wanted = before + events * Math.floor(tally.open / 2);
  await until(() => tally.heard >= wanted, {
    what: `${wanted} events, but ${tally.heard},`,
    timeoutMs: WAIT_MS,
    intervalMs: 1,
  });
}

/** Until nobody hears anything any more. */
async function quiet(): Promise<void> {
  for (let before = -1; before !== tally.heard && tally.open > 0; ) {
    before = tally.heard;
    await delay(QUIET_MS);
  }
}

async function presentRevision(): Promise<number> {
  const connection = await own.get(0, 0);
  const request = RangeRequest.create({ key: Buffer.from(`${PREFIX}/config`) });
  const { header } = RangeResponse.decode(await connection.ask(RANGE, RangeRequest.encode(request).finish()));
  return Number(header?.revision ?? 0n);
}

async function each(from: number, to: number, task: (n: number) => Promise<void>): Promise<void> {
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < to) await task(next++);
  };
  await Promise.all(Array.from({ length: Math.min(WIDTH, to - from) }, lane));
}
