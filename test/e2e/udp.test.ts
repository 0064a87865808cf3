import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import type { Machine } from '#src/lab/machine.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  readLease,
  startFlanneld,
} from '../support/flanneld.ts';
import { type Node, pairOf, startNode, testNetwork } from '../support/network.ts';
import { statusOf } from '../support/node-status.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * The backend udp, which a config without Backend means:
 *
 *     store .190 etcd     h1 .191 flanneld (flannel0) ── c     h2 .192 flanneld (flannel0) ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24}';

const linesOf = async (host: Host, ...words: string[]): Promise<string[]> =>
  (await host.must(['ip', ...words]))
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

/** The largest packet that must fit and may not be broken up: 1472, less 28 for IPv4 and ICMP. */
async function reachEachOther(one: Node, two: Node, size = '1444'): Promise<void> {
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    const argv = ['ping', '-c1', '-W1', '-M', 'do', '-s', size, to.container.address];
    await until(async () => (await from.container.run(argv)).code === 0, {
      what: `${size} bytes from ${from.host.name} to ${to.host.name}`,
    });
  }
}

/** A counter of `Icmp:` in /proc/net/snmp. */
async function icmpCount(machine: Machine, counter: string): Promise<number> {
  const rows = (await machine.must(['cat', '/proc/net/snmp']))
    .split('\n')
    .filter((row) => row.startsWith('Icmp:'));
  const [names = [], values = []] = rows.map((row) => row.split(' '));
  return Number(values[names.indexOf(counter)]);
}

/** Device, address and route, as flannel makes them. */
async function isWhole({ host, subnet }: Node): Promise<true | undefined> {
  const { stdout } = await host.run(['ip', 'link', 'show', 'flannel0']);
  if (!/[<,]UP[,>].* mtu 1472 /.test(stdout)) return undefined;
  const addresses = await linesOf(host, '-4', 'addr', 'show', 'dev', 'flannel0');
  if (!addresses.some((line) => line.startsWith(`inet ${subnet}.0/32 `))) return undefined;
  const routes = await linesOf(host, 'route', 'show', '10.0.0.0/16');
  return routes.join() === '10.0.0.0/16 dev flannel0 scope link' ||
    routes.join() === '10.0.0.0/16 dev flannel0'
    ? true
    : undefined;
}

test('udp: a config without Backend, the lease and the device are flannel’s, and packets pass', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG, hasPeerRoutes: false });
  const [one, two] = pairOf(network);
  await reachEachOther(one, two);
  assert.equal(await isWhole(one), true);
  assert.match((await one.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1472$/m);
  assert.match(
    await readLease(network.etcd, 3, one.subnet),
    new RegExp(`^\\{"PublicIP":"${one.host.address}","PublicIPv6":null,"Node":"[^"]+"\\}$`),
  );
  assert.match(
    await daemonLog(one.host),
    /the backend udp \(also that of a network config without Backend\)/,
  );
  assert.deepEqual((await statusOf(one.host)).troubles, []);

  // Two hops more than with a device of the kernel's: each end of the tunnel takes one.
  const { stdout } = await one.container.run(['ping', '-c1', '-W5', '-t', '3', two.container.address]);
  assert.doesNotMatch(stdout, /1 received/);
  await one.container.must(['ping', '-c1', '-W5', '-t', '5', two.container.address]);
  // No host has this subnet: the answer is ICMP net unreachable.
  const unreachable = await icmpCount(one.host, 'InDestUnreachs');
  await one.host.must(['bash', '-c', 'echo >/dev/udp/10.0.254.9/7']);
  await until(async () => (await icmpCount(one.host, 'InDestUnreachs')) > unreachable, {
    what: 'ICMP net unreachable',
  });
});

test('udp: drift of device and routes is repaired, and a restart is a gap and no more', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG, hasPeerRoutes: false });
  const [one, two] = pairOf(network);
  const { host, flags } = one;
  for (const drift of [
    ['link', 'del', 'flannel0'],
    ['link', 'set', 'flannel0', 'down'],
    ['link', 'set', 'flannel0', 'mtu', '1400'],
    ['addr', 'del', `${one.subnet}.0/32`, 'dev', 'flannel0'],
    ['route', 'del', '10.0.0.0/16'],
    ['route', 'add', '10.0.77.0/24', 'dev', 'flannel0', 'proto', 'boot'],
  ]) {
    await host.must(['ip', ...drift]);
    await until(async () => (await linesOf(host, 'route', 'show', '10.0.77.0/24')).length === 0, {
      what: `removal after: ip ${drift.join(' ')}`,
    });
    // The device may go once more while it is looked at.
    await until(() => isWhole(one).catch(() => undefined), { what: `repair of: ip ${drift.join(' ')}` });
    await reachEachOther(one, two);
  }
  assert.deepEqual((await statusOf(host)).troubles, []);

  const traffic = await Traffic.start(one.container, two.container.address, { perSecond: 100 });
  await (await host.daemon('flanneld'))?.stop();
  assert.notEqual((await host.run(['ip', 'link', 'show', 'flannel0'])).code, 0);
  await startFlanneld(host, flags);
  const before = await traffic.received();
  await until(async () => (await traffic.received()) > before, { what: 'packets after the restart' });
  const { longestGapMs } = await traffic.stop();
  reportFault({
    fault: 'udp: packets stop while flanneld restarts',
    repairedMs: [longestGapMs],
    lost: undefined,
  });
});

test('udp: a stranger’s packets reach containers of this host, and nothing beyond it', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG, hasPeerRoutes: false });
  const [one, two] = pairOf(network);
  // From h2, by hand: an ICMP echo request in a datagram, once to a container of h1 and once to the store.
  const send = (to: string) => `
    const ip = (text) => text.split('.').map(Number);
    const sum = (bytes) => { let s = 0; for (let i = 0; i < bytes.length; i += 2) s += (bytes[i] << 8) + bytes[i + 1];
      while (s > 0xffff) s = (s & 0xffff) + (s >>> 16); return ~s & 0xffff; };
    const icmp = [8, 0, 0, 0, 7, 7, 0, 1]; const c = sum(icmp); icmp[2] = c >> 8; icmp[3] = c & 255;
    const head = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, ...ip('${two.subnet}.9'), ...ip('${to}')];
    const h = sum(head); head[10] = h >> 8; head[11] = h & 255;
    const socket = require('dgram').createSocket('udp4');
    socket.send(Buffer.from([...head, ...icmp]), 8285, '${one.host.address}', () => socket.close());`;
  const [inStore, inContainer] = [
    await icmpCount(network.lab.store, 'InEchos'),
    await icmpCount(one.container, 'InEchos'),
  ];
  for (const to of [network.lab.store.address, one.container.address])
    await two.host.must([process.execPath, '-e', send(to)]);
  await until(async () => (await icmpCount(one.container, 'InEchos')) === inContainer + 1, {
    what: 'the packet to the container',
  });
  assert.equal(await icmpCount(network.lab.store, 'InEchos'), inStore);
});

for (const api of [2, 3] as const) {
  const noMix = skip || noPeer(api);
  const peer = (api === 2 ? PEERS.v2 : PEERS.v3) ?? '';

  for (const [order, programs] of [
    ['ours first', [FLANNELD, peer]],
    ['the peer first', [peer, FLANNELD]],
  ] as const) {
    test(`udp with another flanneld on etcd v${api} passes traffic both ways, ${order}`, {
      skip: noMix,
    }, async (t) => {
      const network = await testNetwork(t, { api, programs, config: CONFIG, hasPeerRoutes: false });
      const [one, two] = pairOf(network);
      await reachEachOther(one, two);
      const host = await network.lab.addHost('h3', 3);
      const three = await startNode(host, flagsFor(host, network.etcd), peer);
      for (const node of [one, two]) await reachEachOther(node, three);
    });
  }
}
