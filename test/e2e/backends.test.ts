import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  PREFIX,
  readLease,
  startFlanneld,
  subnetOf,
  WEFT,
  waitForRoute,
  writeConfig,
} from '../support/flanneld.ts';
import { pairOf, startNode, testNetwork } from '../support/network.ts';
import { readyOn, statusOf } from '../support/node-status.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * Backends without a device, on hosts of one link, and one behind a router:
 *
 *     store .190 etcd     h1 .191 flanneld ── c     h2 .192 flanneld ── c
 *          └─────────────── br0 172.16.70.1 ───────────────┘
 *                            └── 172.17.0.1 ── h3 172.17.0.3 flanneld
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');

const HOST_GW = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"host-gw"}}';
const ALLOC = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"alloc"}}';

const routesOf = async (host: Host): Promise<string[]> =>
  (await host.must(['ip', 'route', 'show', 'proto', '87']))
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

test('host-gw: a route through each peer, no device, the whole MTU', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: HOST_GW });
  const [one, two] = pairOf(network);
  assert.deepEqual(await one.host.ip(['link', 'show', 'type', 'vxlan']), []);
  // As `ip route show proto 87` prints it, without the protocol that was asked for.
  assert.deepEqual(await routesOf(one.host), [`${two.subnet}.0/24 via ${two.host.address} dev eth0`]);
  assert.match((await one.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1500$/m);
  assert.match(
    await readLease(network.etcd, 3, one.subnet),
    new RegExp(
      `^\\{"PublicIP":"${one.host.address}","PublicIPv6":null,"BackendType":"host-gw","Node":"[^"]+"\\}$`,
    ),
  );
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const)
    await from.container.must(['ping', '-c1', '-W5', '-M', 'do', '-s', '1472', to.container.address]);
  await readyOn(one.host);
});

test('host-gw: drift is repaired, and a restart removes stale routes of ours and no others', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: HOST_GW });
  const [one, two] = pairOf(network);
  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`]);
  await waitForRoute(one.host, two.subnet);
  await one.host.must(['sysctl', '-qw', 'net.ipv4.conf.eth0.forwarding=0']);
  await until(
    async () =>
      (await one.host.must(['sysctl', '-n', 'net.ipv4.conf.eth0.forwarding'])).trim() === '1' || undefined,
    { what: 'forwarding on the underlay', timeoutMs: 15_000 },
  );
  await (await one.host.daemon('flanneld'))?.stop();
  await one.host.batch([
    `route add 10.0.250.0/24 via ${two.host.address} dev eth0 proto 87`,
    `route add 10.0.251.0/24 via ${two.host.address} dev eth0`,
  ]);
  const traffic = await Traffic.start(one.container, two.container.address);
  await startFlanneld(one.host, one.flags);
  await until(async () => (await routesOf(one.host)).length === 1, { what: 'removal of the stale route' });
  assert.match(await one.host.must(['ip', 'route', 'show', '10.0.251.0/24']), /via/);
  const report = await traffic.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
});

test('host-gw: a peer behind a router is left out by name, and the others work', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: HOST_GW });
  const [one, two] = pairOf(network);
  const three = await hostBehindRouter(network.lab);
  const flags = flagsFor(three, network.etcd).map((flag) => flag.replace(/^--iface=.*/, '--iface=eth0'));
  const subnet = subnetOf((await startFlanneld(three, flags)).subnetEnv);
  const lease = `${subnet}.0-24`;
  const status = await until(
    async () => {
      const now = await statusOf(one.host);
      return now.peers.quarantined.some((peer) => peer.lease === lease) ? now : undefined;
    },
    { what: 'the peer that is left out' },
  );
  assert.deepEqual(status.peers.quarantined, [
    {
      lease,
      reason:
        'its address 172.17.0.3 has to be on a link of this host, but it is behind the gateway 172.16.70.1 on eth0',
    },
  ]);
  assert.equal(status.ready, true);
  assert.deepEqual(status.kernel.failing, []);
  assert.match(await daemonLog(one.host), new RegExp(`No way to the peer ${lease}: its address 172.17.0.3`));
  assert.deepEqual(await routesOf(one.host), [`${two.subnet}.0/24 via ${two.host.address} dev eth0`]);
  await one.container.must(['ping', '-c1', '-W5', two.container.address]);
  // It left: nothing is said of it any more.
  await (await three.daemon('flanneld'))?.stop();
  await network.etcd.must(3, ['del', `${PREFIX}/subnets/${lease}`]);
  await until(async () => (await statusOf(one.host)).peers.quarantined.length === 0, {
    what: 'the end of the peer that left',
  });
});

/** h3 on a link of its own with the router that is the other hosts' default gateway. */
async function hostBehindRouter(lab: Lab): Promise<Host> {
  const host = await lab.addHost('h3', 3);
  await lab.onWire(['link set h3 nomaster', 'addr add 172.17.0.1/24 dev h3']);
  await lab.components.commands.run([
    'ip',
    'netns',
    'exec',
    lab.wire,
    'sysctl',
    '-qw',
    'net.ipv4.ip_forward=1',
  ]);
  await host.batch([
    'addr flush dev eth0',
    'addr add 172.17.0.3/24 dev eth0',
    'route add default via 172.17.0.1',
  ]);
  return host;
}

test('alloc: a lease and subnet.env, and nothing in the kernel', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 2 });
  const etcd = await Etcd.start(lab);
  await writeConfig(etcd, 3, ALLOC);
  for (const host of lab.hosts) {
    const { subnetEnv } = await startFlanneld(host, flagsFor(host, etcd));
    assert.match(subnetEnv, /^FLANNEL_MTU=1500$/m);
    const lease = await readLease(etcd, 3, subnetOf(subnetEnv));
    assert.match(lease, new RegExp(`^\\{"PublicIP":"${host.address}","PublicIPv6":null,"Node":"[^"]+"\\}$`));
    assert.deepEqual(await host.ip(['link', 'show', 'type', 'vxlan']), []);
    assert.deepEqual(await routesOf(host), []);
  }
  const [one] = lab.hosts;
  assert.ok(one);
  await until(async () => (await statusOf(one)).peers.accepted === 1 || undefined, {
    what: 'the other host’s lease',
  });
});

for (const how of ['id 1 dstport 8472 dev eth0 nolearning', 'external dstport 8472'] as const) {
  test(`a device that takes our place while flanneld runs is named: ${how}`, { skip }, async (t) => {
    const network = await testNetwork(t, { api: 3 });
    const [one, two] = pairOf(network);
    const daemon = await one.host.daemon('flanneld');
    // Stopped, so that the other device is there first.
    daemon?.kill('SIGSTOP');
    await one.host.batch(['link del flannel.1', `link add other0 type vxlan ${how}`, 'link set other0 up']);
    daemon?.kill('SIGCONT');
    const troubles = await until(
      async () => {
        const { troubles } = await statusOf(one.host);
        return troubles.some((text) => text.includes('other0')) ? troubles.join() : undefined;
      },
      { what: 'the trouble' },
    );
    assert.match(troubles, /the device other0 (has VNI 1|takes all VXLAN packets) on UDP port 8472/);
    await one.host.must(['ip', 'link', 'del', 'other0']);
    await until(async () => (await statusOf(one.host)).ready || undefined, {
      what: 'the repair',
      timeoutMs: 60_000,
    });
    await one.container.must(['ping', '-c1', '-W5', two.container.address]);
  });
}

test('a clean-up of one network leaves the other network of the host', { skip }, async (t) => {
  const { host, etcd } = await oneHost(t);
  const other = '/other/network';
  await etcd.must(3, [
    'put',
    `${other}/config`,
    '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":2}}',
  ]);
  const flags = flagsFor(host, etcd);
  const otherFlags = [
    ...flags.filter((flag) => !flag.startsWith('-etcd-prefix')),
    `-etcd-prefix=${other}`,
    '--subnet-file=/run/flannel/other.env',
  ];
  for (const each of [flags, otherFlags]) {
    const { daemon } = await startFlanneld(host, each);
    await daemon.stop();
  }
  const names = async () => (await host.ip(['link', 'show', 'type', 'vxlan'])).map(({ ifname }) => ifname);
  assert.deepEqual(await names(), ['flannel.1', 'flannel.2']);
  await host.must([WEFT, 'cleanup', ...otherFlags]);
  assert.deepEqual(await names(), ['flannel.1']);
  await host.must([WEFT, 'cleanup', ...otherFlags]);
  assert.deepEqual(await names(), ['flannel.1']);
  await host.must([WEFT, 'cleanup', '--all', ...otherFlags]);
  assert.deepEqual(await names(), []);
});

test('a network goes from one backend to another as the documentation says', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one, two] = pairOf(network);
  for (const { host, flags } of [one, two]) {
    await (await host.daemon('flanneld'))?.stop();
    await host.must([WEFT, 'cleanup', ...flags]);
    assert.deepEqual(await host.ip(['link', 'show', 'type', 'vxlan']), []);
  }
  await writeConfig(network.etcd, 3, HOST_GW);
  for (const { host, flags, subnet } of [one, two])
    assert.equal(subnetOf((await startFlanneld(host, flags)).subnetEnv), subnet);
  await waitForRoute(one.host, two.subnet);
  await waitForRoute(two.host, one.subnet);
  await one.container.must(['ping', '-c1', '-W5', two.container.address]);
});

async function oneHost(t: TestContext): Promise<{ host: Host; etcd: Etcd }> {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab);
  await writeConfig(etcd, 3);
  const [host] = lab.hosts;
  assert.ok(host);
  return { host, etcd };
}

for (const api of [2, 3] as const) {
  const noMix = skip || noPeer(api);
  const peer = (api === 2 ? PEERS.v2 : PEERS.v3) ?? '';

  for (const [order, programs] of [
    ['ours first', [FLANNELD, peer]],
    ['the peer first', [peer, FLANNELD]],
  ] as const) {
    test(`host-gw with another flanneld on etcd v${api} passes traffic both ways, ${order}`, {
      skip: noMix,
    }, async (t) => {
      const network = await testNetwork(t, { api, programs, config: HOST_GW });
      const [one, two] = pairOf(network);
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const)
        await from.container.must(['ping', '-c1', '-W5', '-M', 'do', '-s', '1472', to.container.address]);
      const joining = await network.lab.addHost('h3', 3);
      const three = await startNode(joining, flagsFor(joining, network.etcd), peer);
      for (const { host, container } of [one, two]) {
        await waitForRoute(host, three.subnet);
        // The host that joined may learn its peers later than they learn it.
        await waitForAnswer(container, three.container.address);
      }
    });
  }

  test(`host-gw: ours takes over from another flanneld on etcd v${api} without a lost packet, and back`, {
    skip: noMix,
  }, async (t) => {
    const network = await testNetwork(t, { api, programs: [peer, peer], config: HOST_GW });
    const [one, two] = pairOf(network);
    const traffic = await Traffic.start(one.container, two.container.address);
    for (const program of [FLANNELD, peer]) {
      await (await one.host.daemon('flanneld'))?.stop();
      const env = await one.host.read('/run/flannel/subnet.env');
      assert.equal((await startFlanneld(one.host, one.flags, program)).subnetEnv, env);
      assert.match(
        await one.host.must(['ip', 'route', 'show', `${two.subnet}.0/24`]),
        new RegExp(`via ${two.host.address} dev eth0`),
      );
    }
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
  });
}
