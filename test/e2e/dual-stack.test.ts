import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Etcd } from '#src/lab/etcd.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import {
  type DualNode,
  dualNetwork,
  giveIpv6,
  readDualLease,
  route6,
  wholePacket,
} from '../support/dual-network.ts';
import {
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  PREFIX,
  startFlanneld,
  WEFT,
  writeConfig,
} from '../support/flanneld.ts';
import { readyOn, statusOf } from '../support/node-status.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * Networks of both families, of IPv6 alone, and of one family over an underlay of the other:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');

const BOTH = '"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
const VXLAN = `{${BOTH},"Backend":{"Type":"vxlan"}}`;
const DIRECT = `{${BOTH},"Backend":{"Type":"vxlan","DirectRouting":true}}`;
const HOST_GW = `{${BOTH},"Backend":{"Type":"host-gw"}}`;

const pairs = (one: DualNode, two: DualNode) =>
  [
    [one, two],
    [two, one],
  ] as const;

/** Packets that were lost up to now, once some after this moment were answered. */
async function missingOf(traffic: Traffic): Promise<number> {
  const before = await traffic.received();
  await until(async () => (await traffic.received()) > before + 100, { what: 'packets after the restart' });
  const missing = await traffic.missing();
  await traffic.stop();
  return missing;
}

for (const api of [2, 3] as const) {
  test(`vxlan on etcd v${api}: containers reach each other in each family, with packets of the whole MTU`, {
    skip,
  }, async (t) => {
    const { etcd, one, two } = await dualNetwork(t, { api, config: VXLAN });
    for (const [here, there] of pairs(one, two)) {
      assert.match(
        here.subnetEnv,
        /^FLANNEL_NETWORK=10\.0\.0\.0\/16\nFLANNEL_SUBNET=.*\nFLANNEL_IPV6_NETWORK=fd00:10::\/48\nFLANNEL_IPV6_SUBNET=.*\nFLANNEL_MTU=1430\n/m,
      );
      const links = await here.host.ip(['link', 'show', 'type', 'vxlan']);
      assert.deepEqual(links.map(({ ifname, mtu }) => `${ifname} ${mtu}`).sort(), [
        'flannel-v6.1 1430',
        'flannel.1 1450',
      ]);
      const macOf = (name: string) => links.find(({ ifname }) => ifname === name)?.address;
      const lease = await readDualLease(etcd, api, here);
      assert.equal(
        lease.replace(/,"Node":"[^"]+"\}$/, '}'),
        `{"PublicIP":"${here.host.address}","PublicIPv6":"${here.host6}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${macOf('flannel.1')}"},"BackendV6Data":{"VNI":1,"VtepMAC":"${macOf('flannel-v6.1')}"}}`,
      );
      assert.match(await route6(here.host, there.subnet6), /^\S+ via \S+:: dev flannel-v6\.1 .*onlink/);
      assert.ok(await wholePacket(here.container, there.container.address, 1430), 'IPv4');
      assert.ok(await wholePacket(here.container, there.address6, 1430), 'IPv6');
      assert.equal(
        (await here.host.must(['sysctl', '-n', 'net.ipv6.conf.flannel-v6/1.accept_ra'])).trim(),
        '0',
      );
      const status = await readyOn(here.host);
      assert.equal(status.network?.ipv6Subnet, here.subnet6);
      assert.equal(status.network?.publicIpv6, here.host6);
    }
  });
}

for (const [what, config] of [
  ['vxlan', VXLAN],
  ['vxlan with DirectRouting', DIRECT],
  ['host-gw', HOST_GW],
] as const) {
  test(`${what}: a restart and a kill lose no packet in either family`, { skip }, async (t) => {
    const { one, two } = await dualNetwork(t, { config });
    const traffics = [
      await Traffic.start(one.container, two.container.address),
      await Traffic.start(one.container, two.address6),
    ];
    await (await one.host.daemon('flanneld'))?.stop();
    const { daemon } = await startFlanneld(one.host, one.flags);
    daemon.kill('SIGKILL');
    await daemon.exited();
    const { subnetEnv } = await startFlanneld(one.host, one.flags);
    assert.equal(subnetEnv, one.subnetEnv);
    for (const traffic of traffics) {
      assert.equal(await missingOf(traffic), 0);
    }
  });
}

for (const [what, config] of [
  ['host-gw', HOST_GW],
  ['DirectRouting', DIRECT],
] as const) {
  test(`${what}: a plain route in each family, and the underlay's whole MTU`, { skip }, async (t) => {
    const { one, two } = await dualNetwork(t, { config });
    for (const [here, there] of pairs(one, two)) {
      assert.match(
        await route6(here.host, there.subnet6),
        new RegExp(`^\\S+ via ${there.host6} dev eth0 proto 87`),
      );
      const mtu = what === 'host-gw' ? 1500 : 1430;
      assert.ok(await wholePacket(here.container, there.container.address, mtu), 'IPv4');
      assert.ok(await wholePacket(here.container, there.address6, mtu), 'IPv6');
    }
  });
}

test('a network that gets IPv6 leaves its hosts their IPv4 subnets', { skip }, async (t) => {
  const config = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
  const { etcd, one, two } = await dualNetwork(t, { config });
  await writeConfig(etcd, 3, VXLAN);
  await until(
    async () =>
      (await statusOf(one.host)).troubles.some((text) =>
        text.includes('EnableIPv6 is now true instead of false'),
      ),
    { what: 'the field that waits for a restart' },
  );
  // The containers' packets in IPv4 go on, while one host has IPv6 and the other has not.
  const traffic = await Traffic.start(one.container, two.container.address);
  for (const { host, flags, subnet } of [one, two]) {
    await (await host.daemon('flanneld'))?.stop();
    const { subnetEnv } = await startFlanneld(host, flags);
    assert.match(subnetEnv, new RegExp(`^FLANNEL_SUBNET=${subnet}\\.1/24$`, 'm'));
    assert.match(subnetEnv, /^FLANNEL_IPV6_SUBNET=fd00:10:/m);
  }
  assert.equal(await missingOf(traffic), 0);
});

const ONLY6 =
  '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

for (const api of [2, 3] as const) {
  test(`IPv6 alone on etcd v${api}: among wefts, with leases that no flannel sees`, { skip }, async (t) => {
    const { etcd, one, two } = await dualNetwork(t, { api, config: ONLY6 });
    for (const [here, there] of pairs(one, two)) {
      const links = await here.host.ip(['link', 'show', 'type', 'vxlan']);
      assert.deepEqual(
        links.map(({ ifname, mtu }) => `${ifname} ${mtu}`),
        ['flannel-v6.1 1430'],
      );
      assert.ok(await wholePacket(here.container, there.address6, 1430));
      const status = await readyOn(here.host);
      assert.equal(status.network?.subnet, here.subnet6);
    }
    const list = (folder: string) =>
      etcd.must(
        api,
        api === 2 ? ['ls', `${PREFIX}/${folder}`] : ['get', '--prefix', '--keys-only', `${PREFIX}/${folder}`],
      );
    const names = [one, two].map(({ subnet6 }) => subnet6.replace('/', '-')).sort();
    const keys = (await list('ipv6-subnets')).split('\n').filter(Boolean).sort();
    assert.deepEqual(
      keys,
      names.map((name) => `${PREFIX}/ipv6-subnets/${name}`),
    );
    if (api === 3) assert.equal((await list('subnets')).trim(), '');
    const released = await one.host.run([WEFT, 'release', ...one.flags, two.subnet6]);
    assert.match(released.stdout, /^released fd00:10:/, released.stderr);
  });
}

test('IPv6 alone is refused where a flannel holds a lease', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab);
  await writeConfig(etcd, 3, ONLY6);
  const [host] = lab.hosts;
  assert.ok(host);
  await giveIpv6(host, 1);
  const grant = await etcd.must(3, ['lease', 'grant', '600']);
  const lease = /lease (\S+) granted/.exec(grant)?.[1] ?? assert.fail(grant);
  await etcd.must(3, [
    'put',
    `--lease=${lease}`,
    `${PREFIX}/subnets/10.0.9.0-24`,
    '{"PublicIP":"172.16.70.9","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:09"}}',
  ]);
  const { stderr, code } = await host.run(['timeout', '20', FLANNELD, ...flagsFor(host, etcd)]);
  assert.notEqual(code, 0);
  assert.match(
    stderr,
    /hosts with flannel are in the network, which can not follow: 10\.0\.9\.0-24 \(172\.16\.70\.9\)/,
  );
  assert.deepEqual(await host.ip(['link', 'show', 'type', 'vxlan']), []);
});

const ONLY4 = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';

for (const [what, config, family, device, mtu] of [
  ['IPv4 over an underlay of IPv6', ONLY4, 'v6', 'flannel.1', 1430],
  ['IPv6 over an underlay of IPv4', ONLY6, 'v4', 'flannel-v6.1', 1450],
] as const) {
  test(`${what}, among wefts`, { skip }, async (t) => {
    const flags = [`--underlay-family=${family}`];
    const { one, two } = await dualNetwork(t, { config, flags });
    for (const [here, there] of pairs(one, two)) {
      const links = await here.host.ip(['link', 'show', 'type', 'vxlan']);
      assert.deepEqual(
        links.map((link) => `${link.ifname} ${link.mtu}`),
        [`${device} ${mtu}`],
      );
      const details = await here.host.must(['ip', '-d', 'link', 'show', device]);
      assert.match(details, new RegExp(`local ${family === 'v6' ? here.host6 : here.host.address} `));
      const to = family === 'v6' ? there.container.address : there.address6;
      assert.ok(await wholePacket(here.container, to, mtu));
      await readyOn(here.host);
    }
  });
}

const peer = PEERS.v3 ?? '';
for (const [order, programs] of [
  ['ours first', [FLANNELD, peer]],
  ['the peer first', [peer, FLANNELD]],
] as const) {
  for (const [what, config] of [
    ['vxlan', VXLAN],
    ['host-gw', HOST_GW],
  ] as const) {
    test(`a mixed pair of both families over ${what}, ${order}`, { skip: skip || noPeer(3) }, async (t) => {
      const { one, two } = await dualNetwork(t, { config, programs });
      for (const [here, there] of pairs(one, two)) {
        const mtu = what === 'vxlan' ? 1430 : 1500;
        assert.ok(await wholePacket(here.container, there.container.address, mtu), 'IPv4');
        assert.ok(await wholePacket(here.container, there.address6, mtu), 'IPv6');
      }
    });
  }
}
