import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { daemonLog, FLANNELD, flagsFor, PREFIX, startFlanneld, WEFT } from '../support/flanneld.ts';
import { type Network, type Node, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network changes its backend under traffic. Each container pings the next one, each 5 ms:
 *
 *     store .190 etcd     h1 .191 flanneld ── c  →  h2 .192 flanneld ── c  →  …  →  h5 ── c  →  h1
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Owner":"x","Backend":{"Type":"vxlan"}}';

/** Strict source checks, as many distributions have them: a way there and another one back would be dropped. */
async function strict(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts)
    for (const device of ['all', 'default', 'eth0'])
      await host.must(['sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=1`]);
}

async function ringOf({ nodes }: Network): Promise<Traffic[]> {
  const pairs = nodes.map((node, at) => [node, nodes[(at + 1) % nodes.length] ?? node] as const);
  return Promise.all(pairs.map(([one, two]) => Traffic.start(one.container, two.container.address)));
}

async function assertNothingLost(ring: readonly Traffic[]): Promise<void> {
  for (const traffic of ring) {
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
    assert.ok(report.sent > 200, JSON.stringify(report));
  }
}

const change = (network: Network, ...words: string[]) =>
  network.lab.store.run([
    WEFT,
    'network',
    'change',
    `--etcd-endpoints=${network.etcd.endpoints.join(',')}`,
    `--etcd-prefix=${PREFIX}`,
    ...words,
  ]);

const configOf = async ({ etcd }: Network, api: 2 | 3): Promise<string> =>
  (await etcd.must(api, ['get', ...(api === 3 ? ['--print-value-only'] : []), `${PREFIX}/config`])).trim();

/** What is left in the kernel of a host: devices of vxlan, and by what the routes to the others leave. */
async function pathsOf(host: Host): Promise<string[]> {
  const links = await host.ip<{ ifname: string }>(['link', 'show', 'type', 'vxlan']);
  const routes = await host.ip<{ dst: string; dev?: string }>(['route', 'show']);
  const devices = routes.filter(({ dst }) => /^10\.0\.\d+\./.test(dst)).map(({ dev }) => dev ?? '');
  return [
    ...links.map(({ ifname }) => `device ${ifname}`),
    ...[...new Set(devices)].filter((dev) => dev !== 'docker0').map((dev) => `routes by ${dev}`),
  ].sort();
}

async function assertPaths(nodes: readonly Pick<Node, 'host'>[], expected: readonly string[]): Promise<void> {
  for (const { host } of nodes)
    await until(async () => JSON.stringify(await pathsOf(host)) === JSON.stringify(expected), {
      what: `${expected.join(', ')} on ${host.name}`,
      timeoutMs: 15_000,
    }).catch(async () => assert.deepEqual(await pathsOf(host), expected, host.name));
}

const nodesOf = async (t: TestContext, hosts: number, api: 2 | 3 = 3): Promise<Network> => {
  const network = await testNetwork(t, {
    api,
    config: CONFIG,
    programs: Array.from({ length: hosts }, () => FLANNELD),
  });
  await strict(network.nodes.map(({ host }) => host));
  return network;
};

test('VNI 1 → 7 and another port on five hosts: nothing is lost', { skip }, async (t) => {
  const network = await nodesOf(t, 5);
  const ring = await ringOf(network);
  const { code, stdout, stderr } = await change(network, '--vni=7', '--port=4789');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^done: every host uses the new path/m);
  await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  await assertNothingLost(ring);
  assert.equal(
    await configOf(network, 3),
    '{"Network":"10.0.0.0/16","SubnetLen":24,"Owner":"x","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}',
  );
  for (const { host, subnet } of network.nodes) {
    const lease = await network.etcd.must(3, [
      'get',
      '--print-value-only',
      `${PREFIX}/subnets/${subnet}.0-24`,
    ]);
    assert.match(lease, /"BackendData":\{"VNI":7,"VtepMAC":"[^"]+"\},"Node":"[^"]+"\}$/m);
    assert.doesNotMatch(await daemonLog(host), /error|warning/i);
    // What was there before is there again.
    for (const device of ['eth0', 'flannel.7'])
      assert.equal(
        (await host.must(['sysctl', '-n', `net.ipv4.conf.${device}.rp_filter`])).trim(),
        '1',
        device,
      );
    assert.match(await host.must(['ip', '-d', 'link', 'show', 'flannel.7']), /vxlan id 7 .* dstport 4789/);
  }
});
