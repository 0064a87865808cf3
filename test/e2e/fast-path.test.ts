import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import type { FastPathStatus, NodeStatus } from '#src/observe/node-status.ts';
import { until } from '#src/sys/until.ts';
import { callEcho, serveEcho } from '../support/echo-calls.ts';
import { WEFT } from '../support/flanneld.ts';
import { type Network, type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Two hosts whose containers' flows go past bridge, rules and tunnel device:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

const ON = ['--fast-path=on'];

async function fastStatus(host: Host, flags: readonly string[]): Promise<FastPathStatus | undefined> {
  const { stdout } = await host.run([
    WEFT,
    'status',
    '--json',
    ...flags.filter((flag) => !flag.includes('fast')),
  ]);
  return stdout === '' ? undefined : (JSON.parse(stdout) as NodeStatus).fastPath;
}

const packetsOf = (status: FastPathStatus | undefined, name: string): number => status?.packets?.[name] ?? 0;

async function untilFast({ host, flags }: Node): Promise<void> {
  await until(
    async () => {
      const status = await fastStatus(host, flags);
      return status?.state === 'on' && status.containers > 0 && status.peers > 0 ? true : undefined;
    },
    {
      what: `fast path of ${host.name}: ${JSON.stringify(await fastStatus(host, flags))}`,
      timeoutMs: 20_000,
      signal: host.signal,
    },
  );
}

/** Each has heard of the other: its bridge knows it. */
async function greet(network: Network): Promise<void> {
  const [one, two] = pairOf(network);
  await one.container.must(['ping', '-c1', '-W5', two.container.address]);
}

test('flows between containers of two hosts go fast, and nothing is lost', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, flags: ON });
  const [one, two] = pairOf(network);
  await greet(network);
  for (const node of [one, two]) await untilFast(node);
  await serveEcho(two.container);
  const call = await callEcho(one.container, two.container.address, { ms: 4_000 });
  const { udp, tcp } = await call.report;
  assert.equal(udp.received, udp.sent);
  assert.equal(tcp.received, tcp.sent);
  for (const node of [one, two]) {
    const status = await until(
      async () => {
        const found = await fastStatus(node.host, node.flags);
        return packetsOf(found, 'encapsulated') > 5_000 ? found : undefined;
      },
      { what: 'packets that went fast', timeoutMs: 5_000 },
    );
    assert.ok(packetsOf(status, 'decapsulated') > 5_000, JSON.stringify(status));
    assert.equal(packetsOf(status, 'failed') + packetsOf(status, 'wrongSourceIn'), 0);
  }
});
