import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import {
  type DualNetwork,
  type DualNode,
  dualNetwork,
  readDualLease,
  wholePacket,
} from '../support/dual-network.ts';
import { daemonLog, PREFIX, startFlanneld } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { readyOn, statusOf } from '../support/node-status.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 * A network of both families over WireGuard, a device for each:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'wg') || (await lacks('wireguard'));

const BOTH = '"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
const PSK = Buffer.alloc(32, 7).toString('base64');
const CONFIG = `{${BOTH},"Backend":{"Type":"wireguard","PSK":"${PSK}"}}`;
const MTU = 1420;

let network: DualNetwork;
let one: DualNode;
let two: DualNode;
wholeFile(skip, async (owner) => {
  network = await dualNetwork(owner, { config: CONFIG });
  ({ one, two } = network);
});

const pairs = () =>
  [
    [one, two],
    [two, one],
  ] as const;

/** What `wg` shows of a device, without figures. */
async function shown(host: Host, device: string): Promise<string> {
  const { stdout } = await host.run(['wg', 'show', device, 'dump']);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const words = line.split('\t');
      return words.length === 8 ? [...words.slice(0, 4), words[7]].join(' ') : words.join(' ');
    })
    .join('\n');
}

const publicKeyOf = async (host: Host): Promise<string> =>
  (await host.must(['sh', '-c', 'wg pubkey </run/flannel/wgkey'])).trim();

async function reachEachOther(): Promise<void> {
  for (const [here, there] of pairs()) {
    assert.ok(await wholePacket(here.container, there.container.address, MTU), 'IPv4');
    assert.ok(await wholePacket(here.container, there.address6, MTU), 'IPv6');
  }
}

test('containers reach each other in both families, with packets of the whole MTU', { skip }, async () => {
  await reachEachOther();
  for (const [here, there] of pairs()) {
    assert.match(here.subnetEnv, new RegExp(`^FLANNEL_MTU=${MTU}$`, 'm'));
    const key = await publicKeyOf(here.host);
    const lease = await readDualLease(network.etcd, 3, here);
    assert.equal(
      lease.replace(/,"Node":"[^"]+"\}$/, '}'),
      `{"PublicIP":"${here.host.address}","PublicIPv6":"${here.host6}","BackendType":"wireguard","BackendData":{"PublicKey":"${key}","Port":51820},"BackendV6Data":{"PublicKey":"${key}","Port":51821}}`,
    );
    assert.equal((await here.host.must(['stat', '-c', '%a %s', '/run/flannel/wgkey'])).trim(), '400 44');
    const peer = await publicKeyOf(there.host);
    assert.match(
      await shown(here.host, 'flannel-wg'),
      new RegExp(
        `51820 off\\n${escaped(peer)} ${escaped(PSK)} ${there.host.address}:51820 ${escaped(there.subnet)}\\.0/24 off$`,
      ),
    );
    assert.match(
      await shown(here.host, 'flannel-wg-v6'),
      new RegExp(
        `51821 off\\n${escaped(peer)} ${escaped(PSK)} \\[${there.host6}\\]:51821 ${escaped(there.subnet6)} off$`,
      ),
    );
    const status = await readyOn(here.host);
    assert.deepEqual(status.peers.quarantined, []);
  }
});

const escaped = (text: string): string => text.replaceAll(/[.+/[\]]/g, '\\$&');

test('every drift of the devices, peers, routes and addresses is repaired', { skip }, async (t) => {
  const { host } = one;
  const peer = await publicKeyOf(two.host);
  const subnet = `${two.subnet}.0/24`;
  const state = async (): Promise<string> =>
    [
      await shown(host, 'flannel-wg'),
      await shown(host, 'flannel-wg-v6'),
      ...((await host.must(['ip', '-o', 'address', 'show', 'dev', 'flannel-wg'])).match(/inet \S+/g) ?? []),
      await host.must(['ip', 'route', 'show', 'dev', 'flannel-wg']),
      await host.must(['ip', '-6', 'route', 'show', two.subnet6]),
      ...((await host.must(['ip', 'link', 'show', 'dev', 'flannel-wg'])).match(/mtu \d+|,UP/g) ?? []),
    ].join('\n');
  const right = await state();
  const own = /inet (\S+)/.exec(right)?.[1] ?? assert.fail(right);
  const drifts: readonly (readonly string[])[] = [
    ['wg', 'set', 'flannel-wg', 'peer', peer, 'remove'],
    ['wg', 'set', 'flannel-wg', 'peer', peer, 'allowed-ips', '10.99.0.0/24'],
    ['wg', 'set', 'flannel-wg', 'peer', peer, 'persistent-keepalive', '9'],
    ['wg', 'set', 'flannel-wg', 'peer', peer, 'preshared-key', '/dev/null'],
    ['wg', 'set', 'flannel-wg', 'peer', Buffer.alloc(32, 3).toString('base64'), 'allowed-ips', subnet],
    ['wg', 'set', 'flannel-wg', 'listen-port', '4242'],
    ['wg', 'set', 'flannel-wg', 'fwmark', '9'],
    ['wg', 'set', 'flannel-wg-v6', 'peer', peer, 'remove'],
    ['ip', 'route', 'del', subnet],
    ['ip', 'route', 'del', two.subnet6],
    ['ip', 'address', 'del', own, 'dev', 'flannel-wg'],
    ['ip', 'link', 'set', 'flannel-wg', 'mtu', '1300'],
    ['ip', 'link', 'set', 'flannel-wg', 'down'],
    ['ip', 'link', 'del', 'flannel-wg'],
  ];
  for (const drift of drifts) {
    await host.must(drift);
    const began = performance.now();
    let now = '';
    await until(
      async () => {
        now = await state().catch(String);
        return now === right;
      },
      { what: `repair of ${drift.join(' ')}`, timeoutMs: 3_000 },
    ).catch(async (error) => {
      assert.equal(now, right, `${error.message}\n${await daemonLog(host)}`);
    });
    t.diagnostic(`${(performance.now() - began).toFixed(0)} ms: ${drift.join(' ')}`);
  }
  await reachEachOther();
});

test('a stop, a kill and restarts lose no packet: the devices stay, and so do their keys', {
  skip,
}, async () => {
  const options = { perSecond: Math.ceil(200 / patience()) };
  const traffic = await Traffic.start(one.container, two.container.address, options);
  const traffic6 = await Traffic.start(two.container, one.address6, options);
  const { host, flags } = one;
  const before = await shown(host, 'flannel-wg');
  const indexOf = async () => (await host.ip(['link', 'show', 'dev', 'flannel-wg']))[0]?.ifindex;
  const index = await indexOf();
  for (const how of ['SIGTERM', 'SIGKILL'] as const) {
    const daemon = (await host.daemon('flanneld')) ?? assert.fail();
    daemon.kill(how);
    await daemon.exited();
    assert.equal(await shown(host, 'flannel-wg'), before);
    // Some packets go while there is no daemon.
    const answered = await traffic.received();
    await until(async () => (await traffic.received()) > answered + 20, { what: 'traffic' });
    const { subnetEnv } = await startFlanneld(host, flags);
    assert.equal(subnetEnv, one.subnetEnv);
  }
  assert.equal(await shown(host, 'flannel-wg'), before);
  assert.equal(await indexOf(), index);
  for (const each of [traffic, traffic6]) {
    const report = await each.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
  }
});

test('hostile leases are programmed by nobody, and each is named', { skip }, async () => {
  const key = (n: number) => Buffer.alloc(32, n).toString('base64');
  const own = await publicKeyOf(one.host);
  const value = (publicKey: string, { ip = '172.16.70.99', ip6 = 'fd77::99', port = 51_820 } = {}) =>
    `{"PublicIP":"${ip}","PublicIPv6":"${ip6}","BackendType":"wireguard","BackendData":{"PublicKey":"${publicKey}","Port":${port}},"BackendV6Data":{"PublicKey":"${publicKey}","Port":51821}}`;
  const hostile: readonly (readonly [string, RegExp])[] = [
    [value(own), /its PublicKey .* is ours/],
    [value('!!!!'), /its BackendData has no readable PublicKey/],
    [value(Buffer.alloc(31, 5).toString('base64')), /has no readable PublicKey/],
    [value(key(0)), /has no readable PublicKey/],
    [value(key(11), { ip: '10.0.77.5' }), /its PublicIP 10\.0\.77\.5 is inside/],
    [value(key(12), { ip6: 'fd00:10:0:77::5' }), /its PublicIPv6 fd00:10:0:77::5 is inside/],
    [value(key(13), { ip: one.host.address }), /its PublicIP .* is ours/],
    [value(key(14), { port: 65_536 }), /has no readable Port/],
    [value(await publicKeyOf(two.host)), new RegExp(escaped(await publicKeyOf(two.host)))],
    [value(key(15)).replace('"wireguard"', '"vxlan"'), /its backend is "vxlan"/],
    [value(key(16)).replace(/"BackendData":\{[^}]*\}/, '"BackendData":null'), /it has no BackendData/],
  ];
  const name = (n: number) => `10.0.${200 + n}.0-24&fd00:10:0:${(0x200 + n).toString(16)}::-64`;
  for (const [n, [text]] of hostile.entries())
    await network.etcd.must(3, ['put', `${PREFIX}/subnets/${name(n)}`], text);
  const before = await shown(one.host, 'flannel-wg');
  const { peers } = await until(
    async () => {
      const status = await statusOf(one.host);
      return status.peers.quarantined.length === hostile.length && status;
    },
    { what: 'all of them in quarantine', timeoutMs: 10_000 },
  );
  for (const [n, [, reason]] of hostile.entries()) {
    const found = peers.quarantined.find(({ lease }) => lease === name(n));
    assert.match(found?.reason ?? 'not named', reason);
  }
  assert.equal(await shown(one.host, 'flannel-wg'), before);
  assert.doesNotMatch(await one.host.must(['ip', 'route', 'show']), /10\.0\.2\d\d\.0/);
  await reachEachOther();
});
