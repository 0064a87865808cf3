import assert from 'node:assert/strict';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, WEFT } from './flanneld.ts';
import type { Network, Node } from './network.ts';

/* A network of a test that changes its backend under traffic, and what is looked at meanwhile. */

/** Strict source checks, as many distributions have them: a way there and another one back would be dropped. */
export async function strict(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts)
    for (const device of ['all', 'default', 'eth0'])
      await host.must(['sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=1`]);
}

/** Of a network before its change. */
export const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';

/** The lease of a host with flannel, 10.0.250.0-24. */
export async function putFlannel({ etcd }: Pick<Network, 'etcd'>): Promise<void> {
  const lease =
    '{"PublicIP":"172.16.70.250","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"4e:75:5c:b8:d8:8e"}}';
  await etcd.must(3, ['put', `${PREFIX}/subnets/10.0.250.0-24`, lease]);
}

/** Waits until a device checks sources strictly, as before a change: a host ends it a moment after the command. */
export async function waitForSourceCheck(host: Host, device: string): Promise<void> {
  const argv = ['sysctl', '-n', `net/ipv4/conf/${device}/rp_filter`];
  await until(async () => (await host.must(argv)).trim() === '1', {
    what: `strict source check of ${device} on ${host.name}`,
  });
}

/** Each container pings the next one. */
export async function ringOf({ nodes }: Network, perSecond = 200): Promise<Traffic[]> {
  const pairs = nodes.map((node, at) => [node, nodes[(at + 1) % nodes.length] ?? node] as const);
  return Promise.all(
    pairs.map(([one, two]) => Traffic.start(one.container, two.container.address, { perSecond })),
  );
}

export async function assertNothingLost(ring: readonly Traffic[]): Promise<void> {
  for (const traffic of ring) {
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
    assert.ok(report.sent > 20, JSON.stringify(report));
  }
}

export const change = (network: Pick<Network, 'lab' | 'etcd'>, ...words: string[]) =>
  network.lab.store.run(
    [
      WEFT,
      'network',
      'change',
      `--etcd-endpoints=${network.etcd.endpoints.join(',')}`,
      `--etcd-prefix=${PREFIX}`,
      ...words,
    ],
    { timeoutMs: 90_000 },
  );

export const configOf = async ({ etcd }: Pick<Network, 'etcd'>, api: 2 | 3): Promise<string> =>
  (await etcd.must(api, ['get', ...(api === 3 ? ['--print-value-only'] : []), `${PREFIX}/config`])).trim();

/** What is left in the kernel of a host: devices of vxlan, and by what the routes to the others leave. */
export async function pathsOf(host: Host): Promise<string[]> {
  const links = await host.ip(['link', 'show', 'type', 'vxlan']);
  const routes = await host.ip(['route', 'show']);
  const devices = routes.filter(({ dst }) => /^10\.0\.\d+\./.test(String(dst))).map(({ dev }) => String(dev));
  return [
    ...links.map(({ ifname }) => `device ${ifname}`),
    ...[...new Set(devices)].filter((dev) => dev !== 'docker0').map((dev) => `routes by ${dev}`),
  ].sort();
}

/** Waits until subnet.env says this MTU: a host writes it after it has changed its devices and rules. */
export async function waitForMtu(host: Host, mtu: number): Promise<void> {
  const line = new RegExp(`^FLANNEL_MTU=${mtu}$`, 'm');
  await until(async () => line.test((await host.read('/run/flannel/subnet.env')) ?? ''), {
    what: `MTU of ${mtu} in subnet.env of ${host.name}`,
    timeoutMs: 15_000,
  });
}

export async function assertPaths(
  nodes: readonly Pick<Node, 'host'>[],
  expected: readonly string[],
): Promise<void> {
  for (const { host } of nodes)
    await until(async () => JSON.stringify(await pathsOf(host)) === JSON.stringify(expected), {
      what: `${expected.join(', ')} on ${host.name}`,
      timeoutMs: 15_000,
    }).catch(async () => assert.deepEqual(await pathsOf(host), expected, host.name));
}
