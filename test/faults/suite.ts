import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { TrafficReport } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX } from '../support/flanneld.ts';
import { type Network, type NetworkOptions, pairOf, testNetwork } from '../support/network.ts';
import { wholeFile } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/**
 * How often each fault is done: enough for a median. `WEFT_FAULT_TIMES=10` is the long form; with many more, repairs of
 * one thing are taken for a fight with another program, and paced.
 */
export const TIMES = Number(process.env.WEFT_FAULT_TIMES ?? 5);

/** More than the suite's target of 2 %, so that a loaded machine's ticks don't decide; a busy loop takes 100. */
export const MOST_CPU_PERCENT = 5;

/** One network for all tests of a file; made before the first and taken away after the last. */
export function sharedNetwork(skip: string | false, options: NetworkOptions): () => Network {
  let network: Network | undefined;
  wholeFile(skip, async (owner) => {
    network = await testNetwork(owner, options);
  });
  return () => network ?? assert.fail('the network was not made');
}

/** Runs something under traffic of 200 packets a second from the first node's container to the second's. */
export async function underTraffic(network: Network, act: () => Promise<void>): Promise<TrafficReport> {
  const [one, two] = pairOf(network);
  return duringTraffic(one.container, two.container.address, act);
}

/** CPU time that a process has used, in milliseconds (proc(5), utime and stime, at 100 ticks a second). */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export async function flanneldOn(host: Host): Promise<NonNullable<Awaited<ReturnType<Host['daemon']>>>> {
  return (await host.daemon('flanneld')) ?? assert.fail(`no flanneld on ${host.name}`);
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A peer that exists only in the registry: 10.0.N.0/24. */
export const leaseValue = (n: number): string =>
  `{"PublicIP":"172.16.71.${n}","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:01:${n.toString(16).padStart(2, '0')}"}}`;
export const leaseKey = (n: number): string => `${PREFIX}/subnets/10.0.${n}.0-24`;

/** Writes many keys: one transaction each score with v3's etcdctl, which is as fast as hosts that join at once. */
export async function putAll(
  etcd: Etcd,
  api: 2 | 3,
  pairs: readonly (readonly [string, string])[],
): Promise<void> {
  if (api === 2) {
    for (const [key, value] of pairs) await etcd.must(2, ['set', key, value]);
    return;
  }
  await transact(
    etcd,
    pairs.map(([key, value]) => `put ${JSON.stringify(key)} ${JSON.stringify(value)}`),
  );
}

/** Runs `etcdctl txn` requests, twenty at a time. */
export async function transact(etcd: Etcd, requests: readonly string[]): Promise<void> {
  for (let first = 0; first < requests.length; first += 20) {
    // No compares, what to do when they hold, nothing for when they don't.
    await etcd.must(3, ['txn'], `\n${requests.slice(first, first + 20).join('\n')}\n\n\n`);
  }
}

/** The first free numbers of subnets that no node of the network holds. */
export function freeSubnets({ nodes }: Network, count: number): number[] {
  const taken = nodes.map(({ subnet }) => Number(subnet.split('.')[2]));
  return Array.from({ length: 250 }, (_, n) => n + 1)
    .filter((n) => !taken.includes(n))
    .slice(0, count);
}

/** A new peer's route comes, and goes with its lease: the registry is followed. */
export async function assertFollowed(network: Network, api: 2 | 3): Promise<void> {
  const [one] = pairOf(network);
  // From the other end than the hostile ones.
  const n = freeSubnets(network, 250).at(-1);
  assert.ok(n !== undefined);
  const route = () => one.host.must(['ip', 'route', 'show', `10.0.${n}.0/24`]);
  const mac = JSON.parse(leaseValue(n)).BackendData.VtepMAC;
  // Neighbour and forwarding entry go after the route.
  const rest = () =>
    one.host.must([
      'sh',
      '-c',
      `ip neigh show dev flannel.1 | grep -w '10.0.${n}.0'; bridge fdb show dev flannel.1 | grep '^${mac} '; true`,
    ]);
  // etcdctl of 3.4 gives up on a cluster that is electing a leader.
  await until(
    async () =>
      (await network.etcd.run(api, [api === 2 ? 'set' : 'put', leaseKey(n), leaseValue(n)])).code === 0,
    { what: 'a new lease in etcd', timeoutMs: 30_000 },
  );
  await until(async () => (await route()) !== '', { what: 'the route of a new peer', timeoutMs: 20_000 });
  await until(async () => (await network.etcd.run(api, [api === 2 ? 'rm' : 'del', leaseKey(n)])).code === 0, {
    what: 'its end in etcd',
    timeoutMs: 30_000,
  });
  await until(async () => (await route()) === '', { what: 'the end of its route', timeoutMs: 20_000 });
  await until(async () => (await rest()) === '', { what: 'the end of its entries' });
}
