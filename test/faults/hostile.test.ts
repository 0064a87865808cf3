import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { daemonLog, PREFIX, startFlanneld } from '../support/flanneld.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { assertFollowed, flanneldOn, freeSubnets, putAll } from './suite.ts';

/*
 * Keys and values below the leases that nobody should write, put there with etcdctl before a start and while flanneld
 * runs. The peers stay, nothing of it reaches the kernel, and each is named once, with the reason:
 *
 *     store .190 etcd ◀── etcdctl put PREFIX/subnets/JUNK
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

/** Whom the values lie about. */
interface Victims {
  readonly own: Node;
  readonly peer: Node;
  readonly ownMac: string;
  readonly peerMac: string;
}

interface Hostile {
  readonly key: string;
  readonly value: string;
  readonly reason: RegExp;
}

const KINDS = 38;
const GOOD_MAC = '02:00:00:00:09:01';
const lease = (publicIp: unknown, mac: unknown = GOOD_MAC, type: unknown = 'vxlan'): string =>
  JSON.stringify({ PublicIP: publicIp, BackendType: type, BackendData: { VtepMAC: mac } });
const GOOD = lease('172.16.71.9');

/** One of each kind; `n` and `m` are numbers of free subnets, 10.0.N.0/24, that no other kind uses. */
function hostiles(n: number, m: number, { own, peer, ownMac, peerMac }: Victims): Hostile[] {
  const at = (subnet: number): string => `10.0.${subnet}.0-24`;
  const values: (readonly [string, RegExp])[] = [
    ['not JSON', /not JSON/],
    ['', /not JSON/],
    ['[1,2]', /not a JSON object/],
    ['null', /not a JSON object/],
    [`{"PublicIP":"${'1'.repeat(5_000)}"}`, /characters/],
    [`${'['.repeat(2_000)}${']'.repeat(2_000)}`, /not a JSON object/],
    [lease(7), /PublicIP/],
    [lease('1.2.3'), /PublicIP/],
    [lease('0.0.0.0'), /not a host's address/],
    [lease('127.0.0.1'), /not a host's address/],
    [lease('224.0.0.1'), /not a host's address/],
    [lease('255.255.255.255'), /not a host's address/],
    [lease('10.0.3.4'), /inside the network/],
    [lease(own.host.address), /is ours/],
    ['{"BackendType":"vxlan"}', /PublicIP/],
    [lease('172.16.71.9', GOOD_MAC, 'host-gw'), /backend is "host-gw"/],
    ['{"PublicIP":"172.16.71.9","BackendType":"vxlan"}', /VtepMAC/],
    ['{"PublicIP":"172.16.71.9","BackendType":"vxlan","BackendData":null}', /VtepMAC/],
    [lease('172.16.71.9', 'no mac'), /VtepMAC/],
    [lease('172.16.71.9', '01:00:5e:00:00:01'), /unicast/],
    [lease('172.16.71.9', '00:00:00:00:00:00'), /unicast/],
    [lease('172.16.71.9', ownMac), /is ours/],
    [lease('172.16.71.9', peerMac), /also that of/],
    ['{"__proto__":{"PublicIP":"172.16.71.9"}}', /PublicIP/],
    [`{"PublicIP":"172.16.71.9\\nE1122 00:00:00.000000 1 forged.ts:1] forged"}`, /PublicIP/],
  ];
  const keys: (readonly [string, RegExp])[] = [
    [`not-a-subnet-${n}`, /not a subnet/],
    [`10.0.${m}.0_24`, /not a subnet/],
    [`10.0.${m}.0-24/deeper`, /not a subnet/],
    [`999.0.${n}.0-24`, /not a subnet/],
    [`10.0.${m}.7-24`, /not a subnet/],
    [`10.0.${m}.0-33`, /not a subnet/],
    [`010.0.${m}.0-24`, /not a subnet/],
    [`10.0.${m}.0-24 `, /not a subnet/],
    [`192.168.${n}.0-24`, /not in the network/],
    [n % 2 === 0 ? '10.0.0.0-8' : '0.0.0.0-0', /not in the network/],
    [n % 2 === 0 ? '10.0.0.0-16' : '10.0.0.0-17', /overlaps|wide/],
    [`${own.subnet}.${n % 2 === 0 ? 0 : 128}-25`, /overlaps ours/],
    [`${peer.subnet}.${n % 2 === 0 ? 0 : 128}-25`, /overlaps that of/],
  ];
  return [
    ...values.map(([value, reason], index) => ({ key: at(n + index), value, reason })),
    ...keys.map(([key, reason]) => ({ key, value: GOOD, reason })),
  ];
}

for (const api of [2, 3] as const) {
  test(`${KINDS} kinds of hostile keys and values, before a start and while it runs (etcd v${api})`, {
    skip,
  }, async (t) => {
    const network = await testNetwork(t, { api });
    const { etcd } = network;
    const [one, two] = pairOf(network);
    const macOf = async ({ host }: Node) => (await host.ip(['link', 'show', 'flannel.1']))[0]?.address ?? '';
    const victims = { own: one, peer: two, ownMac: await macOf(one), peerMac: await macOf(two) };
    const free = freeSubnets(network, 250);
    const run = (from: number): number =>
      free.find(
        (n) => n >= from && Array.from({ length: 30 }, (_, k) => n + k).every((k) => free.includes(k)),
      ) ?? assert.fail('no thirty free subnets in a row');
    const first = run(2);
    const second = run(first + 31);
    const put = (all: readonly Hostile[]) =>
      putAll(
        etcd,
        api,
        all.map(({ key, value }) => [`${PREFIX}/subnets/${key}`, value]),
      );
    const before = await kernelState(one.host);
    const traffic = await Traffic.start(one.container, two.container.address);

    await (await flanneldOn(one.host)).stop();
    const start = (await daemonLog(one.host)).length;
    const early = hostiles(first, first + 29, victims);
    assert.equal(early.length, KINDS);
    await put(early);
    await startFlanneld(one.host, one.flags);
    assert.equal(await kernelState(one.host), before);

    const late = hostiles(second, second + 29, victims).filter(
      ({ key }) => !early.some((it) => it.key === key),
    );
    await put(late);
    // Written again, as a renewal does: that is no news.
    await put(late);
    await assertFollowed(network, api);
    assert.equal(await kernelState(one.host), before);
    const log = (await daemonLog(one.host)).slice(start).split('\n');
    for (const { key, value, reason } of [...early, ...late]) {
      const lines = log.filter((line) => line.includes(`Ignoring the lease ${key}: `));
      assert.equal(lines.length, 1, `${key} = ${value.slice(0, 80)}: ${lines.length} lines`);
      assert.match(lines[0] ?? '', reason);
    }
    assert.deepEqual(
      log.filter((line) => /^\S+ \S+ +1 forged/.test(line)),
      [],
    );
    await until(async () => (await traffic.received()) > 100, { what: 'traffic' });
    const { lost } = await traffic.stop();
    reportFault({
      fault: `${KINDS} kinds of hostile keys and values (etcd v${api})`,
      repairedMs: [],
      lost,
      note: 'ok, each named once',
    });
    assert.equal(lost, 0);
  });
}
