import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import type { Store } from '#src/lab/store.ts';
import { parseIpv4 } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';
import {
  CONFIG,
  flagsFor,
  PREFIX,
  readLease,
  startStore,
  WEFT,
  waitForRoute,
  writeConfig,
} from '../support/flanneld.ts';
import { type Node, startNode } from '../support/network.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * A host that follows its default route, whose network changes under it.
 *
 *     store .190 etcd
 *     h1 .191 flanneld ── docker0 ── c      h2 .192 flanneld --iface ── docker0 ── c
 *      ├ eth0: default route at the start
 *      └ tun0: a VPN, or eth1: a second uplink
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const GATEWAY = '172.16.70.1';

interface Pair {
  readonly etcd: Store;
  readonly one: Node;
  readonly two: Node;
}

/** Two hosts; the first has no flag that names an interface. */
async function pair(t: TestContext, { config = CONFIG, base = '172.16.70.190' } = {}): Promise<Pair> {
  const lab = await testLab(t, { hosts: 2, base: parseIpv4(base) ?? assert.fail(base) });
  const etcd = await startStore(lab, 'etcd');
  await writeConfig(etcd, 3, config);
  const [first, second] = lab.hosts;
  assert.ok(first && second);
  await first.must(['ip', 'route', 'replace', 'default', 'via', base.replace(/\d+$/, '1'), 'dev', 'eth0']);
  const free = flagsFor(first, etcd).filter((flag) => !flag.startsWith('--iface'));
  const one = await startNode(first, free);
  const two = await startNode(second, flagsFor(second, etcd));
  await waitForRoute(first, two.subnet);
  await waitForRoute(second, one.subnet);
  return { etcd, one, two };
}

const ping = (from: Node, to: Node): Promise<string> =>
  from.container.must(['ping', '-c1', '-W5', to.container.address]);

const status = async (host: Host): Promise<string> =>
  (await host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`])).stdout;

const untilReady = (host: Host): Promise<boolean> =>
  until(
    async () => {
      const { code, stdout } = await host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`]);
      return code === 0 && !stdout.includes('NOT READY');
    },
    { what: 'the host, ready again', timeoutMs: 30_000 },
  );

test('a VPN’s default route and a DHCP renewal leave the overlay where it is', { skip }, async (t) => {
  const { etcd, one, two } = await pair(t);
  const before = await readLease(etcd, 3, one.subnet);
  await one.host.batch([
    'link add tun0 type bridge',
    'addr add 10.8.0.2/24 dev tun0',
    'link set tun0 up',
    `route replace default via ${GATEWAY} metric 100`,
    `route del default via ${GATEWAY} metric 0`,
    'route add default via 10.8.0.1 dev tun0',
    `addr change ${one.host.address}/16 dev eth0 valid_lft 3600 preferred_lft 3600`,
  ]);
  // A change that comes after those, and that is followed, says when they have been looked at.
  await one.host.must(['ip', 'link', 'set', 'eth0', 'mtu', '1400']);
  await until(async () => (await one.host.must(['ip', 'link', 'show', 'flannel.1'])).includes('mtu 1350'), {
    what: 'the new MTU',
  });
  assert.match(await status(one.host), /eth0 \(172\.16\.70\.191\)/);
  assert.equal(await readLease(etcd, 3, one.subnet), before);
  await ping(two, one);
});

test('a renumbering whose default route comes later is followed, and is a trouble meanwhile', {
  skip,
}, async (t) => {
  const { etcd, one, two } = await pair(t);
  await one.host.must(['ip', 'addr', 'del', `${one.host.address}/16`, 'dev', 'eth0']);
  await until(
    async () =>
      (await status(one.host)).includes(`the underlay address ${one.host.address} is gone from eth0`),
    { what: 'the trouble in status', timeoutMs: 20_000 },
  );
  assert.match(await status(one.host), /NOT READY/);
  await one.host.must(['ip', 'addr', 'add', '172.16.70.201/16', 'dev', 'eth0']);
  const isPublished = async () => (await readLease(etcd, 3, one.subnet)).includes('"172.16.70.201"');
  await until(isPublished, { what: 'the new address in the lease', timeoutMs: 20_000 });
  await one.host.must(['ip', 'route', 'replace', 'default', 'via', GATEWAY]);
  await untilReady(one.host);
  // The peer hears of the address by itself.
  await waitForAnswer(one.container, two.container.address);
});

test('a second uplink is taken when the first card is gone', { skip }, async (t) => {
  const { etcd, one, two } = await pair(t);
  // A port of its own on the fabric is not needed: the second address is on another device of the same card.
  await one.host.batch([
    'link add link eth0 name eth1 type macvlan mode bridge',
    'addr add 172.16.70.202/16 dev eth1',
    'link set eth1 up',
    `route add default via ${GATEWAY} dev eth1 metric 50`,
    `addr del ${one.host.address}/16 dev eth0`,
  ]);
  await until(async () => (await readLease(etcd, 3, one.subnet)).includes('"172.16.70.202"'), {
    what: 'the second uplink in the lease',
    timeoutMs: 20_000,
  });
  await untilReady(one.host);
  await waitForAnswer(one.container, two.container.address);
});

test('flannel’s documented network, which contains its hosts, has peers', { skip }, async (t) => {
  const config =
    '{"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","Backend":{"Type":"vxlan"}}';
  const { etcd, one, two } = await pair(t, { config, base: '10.240.0.190' });
  await ping(one, two);
  // A lease that is not handed out, and that would hide hosts of the underlay.
  await etcd.must(3, [
    'put',
    `${PREFIX}/subnets/10.240.7.0-24`,
    '{"PublicIP":"10.240.0.9","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:07:01"}}',
  ]);
  await until(async () => (await status(one.host)).includes("overlaps the underlay's 10.240.0.0/16"), {
    what: 'the reason in status',
  });
  assert.equal(await one.host.must(['ip', 'route', 'show', '10.240.7.0/24']), '');
});
