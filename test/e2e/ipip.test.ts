import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import {
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  readLease,
  startFlanneld,
  subnetOf,
  WEFT,
  waitForRoute,
} from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { type Node, pairOf, startNode, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * ipip between two hosts, and one behind a router. Run it under a kernel that has it:
 * script/kernels --kernel=linux-image-amd64 test/e2e/ipip.test.ts
 *
 *     store .190 etcd     h1 .191 flanneld ── c     h2 .192 flanneld ── c
 *          └─────────────── br0 172.16.70.1 ───────────────┘
 *                            └── 172.17.0.1 ── h3 172.17.0.3 flanneld ── c
 */
const skip = (await lacks('ipip')) || cannotRun('etcd', 'etcdctl', 'ping');

const configOf = (more: object = {}): string =>
  JSON.stringify({ Network: '10.0.0.0/16', SubnetLen: 24, Backend: { Type: 'ipip', ...more } });

const linesOf = async (host: Host, ...words: string[]): Promise<string[]> =>
  (await host.must(['ip', ...words]))
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

/** Containers of both, each to the other, with the largest packet that must fit and may not be broken up. */
async function reachEachOther(one: Node, two: Node, size = '1452'): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const)
    await from.container.must(['ping', '-c1', '-W5', '-M', 'do', '-s', size, to.container.address]);
}

/** The device's own data as `ip -d -j link` prints it. */
async function deviceOf(host: Host): Promise<string> {
  const [link] = JSON.parse(await host.must(['ip', '-d', '-j', 'link', 'show', 'flannel.ipip']));
  const { info_kind, info_data = {} } = link.linkinfo;
  const { remote, local, ttl, pmtudisc } = info_data;
  return JSON.stringify({ info_kind, remote, local, ttl, pmtudisc });
}

test('ipip: device, routes and lease are flannel’s, packets pass, drift is repaired, a restart loses nothing', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: configOf() });
  const [one, two] = pairOf(network);
  const { host, flags } = one;
  const route = `${two.subnet}.0/24 via ${two.host.address} dev flannel.ipip onlink`;
  const isWhole = async (): Promise<string | undefined> => {
    const links = await linesOf(host, 'link', 'show', 'flannel.ipip').catch(() => []);
    if (!/[<,]UP[,>].* mtu 1480 /.test(links[0] ?? '')) return undefined;
    const routes = await linesOf(host, 'route', 'show', `${two.subnet}.0/24`);
    const addresses = await linesOf(host, '-4', 'addr', 'show', 'dev', 'flannel.ipip');
    if (!addresses.some((line) => line.startsWith(`inet ${one.subnet}.0/32 `))) return undefined;
    return routes.join() === route ? await deviceOf(host) : undefined;
  };
  const good = await isWhole();
  assert.deepEqual(JSON.parse(good ?? '{}'), {
    info_kind: 'ipip',
    remote: 'any',
    local: host.address,
    ttl: 0,
    pmtudisc: false,
  });
  assert.match((await host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1480$/m);
  assert.match(
    await readLease(network.etcd, 3, one.subnet),
    new RegExp(`^\\{"PublicIP":"${host.address}","PublicIPv6":null,"BackendType":"ipip","Node":"[^"]+"\\}$`),
  );
  await reachEachOther(one, two);
  const { code } = await one.container.run([
    'ping',
    '-c1',
    '-W2',
    '-M',
    'do',
    '-s',
    '1453',
    two.container.address,
  ]);
  assert.notEqual(code, 0);

  for (const drift of [
    ['link', 'del', 'flannel.ipip'],
    ['link', 'set', 'flannel.ipip', 'down'],
    ['link', 'set', 'flannel.ipip', 'mtu', '1400'],
    ['link', 'change', 'flannel.ipip', 'type', 'ipip', 'ttl', '5', 'pmtudisc'],
    ['addr', 'del', `${one.subnet}.0/32`, 'dev', 'flannel.ipip'],
    ['route', 'del', `${two.subnet}.0/24`],
    ['route', 'replace', `${two.subnet}.0/24`, 'via', two.host.address, 'dev', 'eth0'],
  ]) {
    await host.must(['ip', ...drift]);
    await until(async () => (await isWhole()) === good, { what: `repair of: ip ${drift.join(' ')}` });
  }
  await reachEachOther(one, two);

  await host.must([
    'ip',
    'route',
    'add',
    '10.0.251.0/24',
    'via',
    two.host.address,
    'dev',
    'flannel.ipip',
    'onlink',
  ]);
  const traffic = await Traffic.start(one.container, two.container.address);
  await (await host.daemon('flanneld'))?.stop();
  await startFlanneld(host, flags);
  await until(async () => (await linesOf(host, 'route', 'show', '10.0.251.0/24')).length === 0, {
    what: 'removal of the stale route',
  });
  const report = await traffic.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
  assert.ok(report.received > 0);

  await (await host.daemon('flanneld'))?.stop();
  await host.must([WEFT, 'cleanup', ...flags], { timeoutMs: 10_000 * patience() });
  assert.equal((await host.run(['ip', 'link', 'show', 'flannel.ipip'])).code, 1);
});

test('ipip with DirectRouting: a plain route on the link, the tunnel behind a router', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: configOf({ DirectRouting: true }) });
  const [one, two] = pairOf(network);
  const { lab } = network;
  const far = await lab.addHost('h3', 3);
  await lab.onWire(['link set h3 nomaster', 'addr add 172.17.0.1/24 dev h3']);
  const forward = ['sysctl', '-qw', 'net.ipv4.ip_forward=1'];
  await lab.components.commands.run(['ip', 'netns', 'exec', lab.wire, ...forward]);
  await far.batch([
    'addr flush dev eth0',
    'addr add 172.17.0.3/24 dev eth0',
    'route add default via 172.17.0.1',
  ]);
  const flags = flagsFor(far, network.etcd).map((flag) => flag.replace(/^--iface=.*/, '--iface=eth0'));
  const three = await startNode(far, flags);
  await waitForRoute(one.host, three.subnet);
  const routes = async (subnet: string) =>
    (await linesOf(one.host, 'route', 'show', `${subnet}.0/24`)).join();
  assert.equal(await routes(two.subnet), `${two.subnet}.0/24 via ${two.host.address} dev eth0 proto 87`);
  assert.equal(await routes(three.subnet), `${three.subnet}.0/24 via 172.17.0.3 dev flannel.ipip onlink`);
  await reachEachOther(one, two);
  await reachEachOther(one, three);
});

test('ipip with another flanneld passes traffic both ways, and ours takes over without a lost packet', {
  skip: skip || noPeer(3),
}, async (t) => {
  const network = await testNetwork(t, {
    api: 3,
    programs: [FLANNELD, PEERS.v3 ?? ''],
    config: configOf(),
  });
  const [one, two] = pairOf(network);
  await reachEachOther(one, two);
  const traffic = await Traffic.start(one.container, two.container.address);
  await (await two.host.daemon('flanneld'))?.stop();
  const { subnetEnv } = await startFlanneld(two.host, two.flags);
  assert.equal(subnetOf(subnetEnv), two.subnet);
  const report = await traffic.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
});
