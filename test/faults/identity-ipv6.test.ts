import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { type DualNetwork, dualNetwork, readDualLease, route6 } from '../support/dual-network.ts';
import { reportFault } from '../support/fault-report.ts';
import { PREFIX, startFlanneld } from '../support/flanneld.ts';
import { statusOf } from '../support/node-status.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';
import { flanneldOn } from './suite.ts';

/*
 * What happens to hosts of a network of both families, seen in its IPv6 part:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'bridge');
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

let made: DualNetwork | undefined;
wholeFile(skip, async (owner) => {
  made = await dualNetwork(owner, { config: CONFIG });
});
const network = (): DualNetwork => made ?? assert.fail('there is no network');

const entriesOf = (host: Host): Promise<string> =>
  host.must(['bridge', 'fdb', 'show', 'dev', 'flannel-v6.1']);

/** Everything of the tunnel over IPv6, and all routes of IPv6 that somebody made. */
const stateOf = async (host: Host): Promise<string> =>
  [
    await entriesOf(host),
    await host.must(['ip', '-6', 'neigh', 'show', 'dev', 'flannel-v6.1', 'nud', 'permanent']),
    await host.must(['ip', '-6', '-o', 'addr', 'show', 'dev', 'flannel-v6.1', 'scope', 'global']),
    await host.must(['ip', '-6', 'route', 'show']),
  ]
    .flatMap((text) => text.split('\n'))
    // A device that is made again gets another number.
    .map((line) => line.trim().replace(/^\d+: /, ''))
    .filter((line) => line !== '' && !/^(fe80|ff00|33:33:)/.test(line))
    .sort()
    .join('\n');

test('leftovers of peers in IPv6 go at a start, and nothing foreign', { skip }, async () => {
  const { one, two } = network();
  const { host, flags } = one;
  const wanted = await stateOf(host);
  const foreign = [
    '-6 route add fd99::/64 via fd77::9 dev eth0',
    '-6 route add fd00:10:0:ee::/64 via fd77::9 dev eth0',
    '-6 addr add fd98::1/128 dev flannel-v6.1 nodad',
  ];
  const { lost } = await duringTraffic(one.container, two.address6, async () => {
    const daemon = await flanneldOn(host);
    daemon.kill('SIGKILL');
    await daemon.exited();
    await host.must(['sh', '-c', foreign.map((words) => `ip ${words}`).join(' && ')]);
    const withForeign = await stateOf(host);
    assert.notEqual(withForeign, wanted);
    for (const n of ['f1', 'f2', 'f3']) {
      const gateway = `fd00:10:0:${n}::`;
      const mac = `02:00:00:00:06:${n}`;
      await host.must([
        'sh',
        '-c',
        [
          `ip -6 neigh add ${gateway} lladdr ${mac} dev flannel-v6.1 nud permanent`,
          `ip -6 route add ${gateway}/64 via ${gateway} dev flannel-v6.1 onlink`,
          `bridge fdb append ${mac} dev flannel-v6.1 dst fd77::${n} self`,
        ].join(' && '),
      ]);
    }
    assert.notEqual(await stateOf(host), withForeign);
    await startFlanneld(host, flags);
    assert.equal(await stateOf(host), withForeign);
  });
  await host.must(['sh', '-c', foreign.map((words) => `ip ${words.replace(' add ', ' del ')}`).join(' && ')]);
  assert.equal(await stateOf(host), wanted);
  reportFault({
    fault: 'IPv6 entries of peers that left',
    repairedMs: [],
    lost,
    note: 'ok, foreign ones stay',
  });
  assert.equal(lost, 0);
});

test('a start without etcd forwards in both families with the peers last known', { skip }, async () => {
  const { etcd, one, two } = network();
  const { host, flags, subnetEnv } = one;
  const wanted = await stateOf(host);
  const traffics = [
    await Traffic.start(one.container, two.container.address),
    await Traffic.start(one.container, two.address6),
  ];
  await (await flanneldOn(host)).stop();
  for (const member of etcd.members) await member.freeze();
  try {
    // As after a boot: what was in the kernel of IPv6 is gone.
    await host.must(['ip', 'link', 'del', 'flannel-v6.1']);
    assert.equal((await startFlanneld(host, flags)).subnetEnv, subnetEnv);
    await until(async () => (await stateOf(host)) === wanted, { what: 'the state from memory' });
  } finally {
    for (const member of etcd.members) await member.thaw();
  }
  await until(async () => (await statusOf(host)).ready, { what: 'the registry again', timeoutMs: 30_000 });
  assert.equal(await stateOf(host), wanted);
  const [v4, v6] = traffics;
  assert.ok(v4 && v6);
  assert.equal((await v4.stop()).lost, 0);
  // Those of the moment without a device are lost.
  const before = await v6.received();
  await until(async () => (await v6.received()) > before, { what: 'packets in IPv6' });
  await v6.stop();
});

test("the underlay's address of IPv6 changes, and the peers follow", { skip }, async () => {
  const { etcd, one, two } = network();
  const { host } = two;
  for (const [from, to] of [
    ['fd77::2', 'fd77::22'],
    ['fd77::22', 'fd77::2'],
  ] as const) {
    await host.must([
      'sh',
      '-c',
      `ip -6 addr add ${to}/64 dev eth0 nodad && ip -6 addr del ${from}/64 dev eth0`,
    ]);
    await until(async () => new RegExp(` dst ${to} `).test(await entriesOf(one.host)), {
      what: `the entry for ${to}`,
      timeoutMs: 30_000,
    });
    await waitForAnswer(one.container, two.address6);
    await until(async () => !new RegExp(` dst ${from} `).test(await entriesOf(one.host)), {
      what: `the end of the entry for ${from}`,
    });
    assert.match(await readDualLease(etcd, 3, two), new RegExp(`"PublicIPv6":"${to}"`));
    const device = await host.must(['ip', '-d', 'link', 'show', 'flannel-v6.1']);
    assert.match(device, new RegExp(` local ${to} `));
    assert.notEqual(await route6(one.host, two.subnet6), '');
  }
});

test('a lease of both families that somebody removes is claimed again, with both subnets', {
  skip,
}, async () => {
  const { etcd, one, two } = network();
  const key = `${PREFIX}/subnets/${two.subnet}.0-24&${two.subnet6.replace('/', '-')}`;
  const traffic = await Traffic.start(one.container, two.address6);
  await etcd.must(3, ['del', key]);
  await until(async () => (await readDualLease(etcd, 3, two)).includes('BackendV6Data'), {
    what: 'the lease',
  });
  const before = await traffic.received();
  await until(async () => (await traffic.received()) > before + 50, { what: 'packets in IPv6' });
  assert.equal((await traffic.stop()).lost, 0);
});
