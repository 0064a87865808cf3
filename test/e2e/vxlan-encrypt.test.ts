import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import { PREFIX, readLease, startFlanneld, WEFT, writeConfig } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { statusOf } from '../support/node-status.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * VXLAN inside WireGuard on two hosts, and a third that knows nothing of it: a vxlan device made by hand, as flannel has it.
 *
 *     store .190 etcd     h1 .191 ── c ══ WireGuard ══ c ── h2 .192     h3 .193 flannel.1 10.0.250.0, plain
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'wg', 'nft', 'tcpdump') || (await lacks('wireguard'));

const configOf = (policy: string): string =>
  `{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan","Encrypt":"wireguard","EncryptPolicy":"${policy}"}}`;

/** A program of ours takes its time in an emulated machine. */
const SLOW = { timeoutMs: 10_000 * patience() };

const peersOf = async ({ host, flags }: Node): Promise<string> =>
  (await host.run([WEFT, 'peers', ...flags], SLOW)).stdout;

const reaches = async (from: Pick<Host, 'run'>, address: string): Promise<boolean> =>
  (await from.run(['ping', '-c2', '-W5', address], SLOW)).code === 0;

const PLAIN_MAC = '02:00:00:00:00:fa';

/** A peer as flannel would be: its lease, and a device that sends plain packets to h1. */
async function plainPeer(host: Host, { host: to, subnet }: Node): Promise<void> {
  const [device] = (await to.ip(['link', 'show', 'flannel.1'])) as { address: string }[];
  assert.ok(device);
  await host.batch([
    `link add flannel.1 address ${PLAIN_MAC} type vxlan id 1 local ${host.address} dev eth0 dstport 8472 nolearning`,
    'addr add 10.0.250.0/32 dev flannel.1',
    'link set flannel.1 up',
    `neigh add ${subnet}.0 lladdr ${device.address} dev flannel.1 nud permanent`,
    `route add ${subnet}.0/24 via ${subnet}.0 dev flannel.1 onlink`,
  ]);
  await host.must(['bridge', 'fdb', 'add', device.address, 'dev', 'flannel.1', 'dst', to.address]);
}

test('VXLAN inside WireGuard: nothing plain goes out, and nothing plain comes in', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: configOf('require') });
  const [one, two] = pairOf(network);
  assert.match(
    await readLease(network.etcd, 3, one.subnet),
    /"Weft":\{"Wireguard":\{"PublicKey":"[^"]{44}","Port":51820\}\}/,
  );
  await t.test('containers reach each other with packets of the MTU', async () => {
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const)
      await from.container.must(['ping', '-c2', '-W5', '-M', 'do', '-s', '1342', to.container.address], SLOW);
    assert.match((await one.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1370$/m);
  });
  await t.test('on the wire there is WireGuard and no VXLAN', async () => {
    const watch = (filter: string) =>
      one.host.run(['timeout', '20', 'tcpdump', '-ni', 'eth0', '-c', '1', ...filter.split(' ')], SLOW);
    const [plain, encrypted] = await Promise.all([
      watch('udp port 8472'),
      watch('udp port 51820'),
      one.container.must(['ping', '-c40', '-i0.2', '-W5', two.container.address], SLOW),
    ]);
    assert.equal(encrypted.code, 0, 'there are packets of the tunnel');
    assert.equal(plain.code, 124, `no plain packet was seen: ${plain.stdout}`);
  });
  await t.test('status and peers say so', async () => {
    const status = await statusOf(one.host);
    assert.deepEqual([status.troubles, status.peers.plain], [[], 0]);
    assert.match(await peersOf(one), / vxlan\+wireguard /);
  });
  await t.test('a tunnel that was removed by hand is back, and the entries go through it', async () => {
    await one.host.must(['ip', 'link', 'del', 'weft-wg.1']);
    await until(() => reaches(one.container, two.container.address), { what: 'packets through the tunnel' });
    assert.match(await one.host.must(['bridge', 'fdb', 'show', 'dev', 'flannel.1']), / via weft-wg\.1 /);
  });
  await t.test('what others change of the tunnel and of the entries is put back', async (sub) => {
    const { host } = one;
    const state = async (): Promise<string> =>
      [
        await host.must(['wg', 'show', 'weft-wg.1', 'allowed-ips']),
        ...(await host.must(['bridge', 'fdb', 'show', 'dev', 'flannel.1'])).split('\n').sort(),
        await host.must(['ip', 'route', 'show', 'dev', 'flannel.1']),
        ...((await host.must(['ip', 'link', 'show', 'weft-wg.1'])).match(/mtu \d+|,UP/g) ?? []),
        (await host.must(['nft', 'list', 'table', 'inet', 'weft-sealed-1'])).replace(
          /packets \d+ bytes \d+/g,
          '',
        ),
      ].join('\n');
    const right = await state();
    const [peer = ''] = right.split('\t');
    const [, mac = ''] = /^(\S+) dst \S+ via weft-wg\.1 /m.exec(right) ?? assert.fail(right);
    const entry = [mac, 'dev', 'flannel.1', 'dst', two.host.address, 'via', 'weft-wg.1'];
    for (const drift of [
      ['wg', 'set', 'weft-wg.1', 'peer', peer, 'remove'],
      ['bridge', 'fdb', 'del', ...entry],
      ['ip', 'route', 'del', `${two.subnet}.0/24`],
      ['ip', 'link', 'set', 'weft-wg.1', 'mtu', '1300'],
      ['ip', 'link', 'set', 'weft-wg.1', 'down'],
      ['nft', 'delete', 'table', 'inet', 'weft-sealed-1'],
    ]) {
      await host.must(drift);
      const began = performance.now();
      await until(async () => (await state().catch(String)) === right, {
        what: `repair of ${drift.join(' ')}`,
      });
      sub.diagnostic(`${(performance.now() - began).toFixed(0)} ms: ${drift.join(' ')}`);
    }
  });
  await t.test('a stop, a kill and starts lose no packet', async () => {
    const perSecond = Math.ceil(200 / patience());
    const traffic = await Traffic.start(one.container, two.container.address, { perSecond });
    for (const how of ['SIGTERM', 'SIGKILL'] as const) {
      const daemon = (await one.host.daemon('flanneld')) ?? assert.fail();
      daemon.kill(how);
      await daemon.exited();
      const answered = await traffic.received();
      await until(async () => (await traffic.received()) > answered + 20, { what: 'packets meanwhile' });
      await startFlanneld(one.host, one.flags);
    }
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
  });
  const stranger = await network.lab.addHost('h3', 3);
  const lease = `${PREFIX}/subnets/10.0.250.0-24`;
  const value = `{"PublicIP":"${stranger.address}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${PLAIN_MAC}"}}`;
  await plainPeer(stranger, one);
  await network.etcd.must(3, ['put', lease, value]);
  await t.test('under require a peer without a key is named, and its packets are dropped', async () => {
    await until(
      async () =>
        (await statusOf(one.host)).peers.quarantined.some(
          (peer) => peer.lease === '10.0.250.0-24' && /announces no WireGuard key/.test(peer.reason),
        ),
      { what: 'the peer that is left out' },
    );
    assert.ok(!(await reaches(stranger, `${one.subnet}.0`)));
    const listing = await one.host.must(['nft', 'list', 'table', 'inet', 'weft-sealed-1']);
    assert.match(listing, /counter plain \{\s*packets [1-9]/);
  });
  await t.test('under prefer it is taken, and named as plain', async () => {
    await writeConfig(network.etcd, 3, configOf('prefer'));
    await until(async () => (await statusOf(one.host)).peers.plain === 1, { what: 'the plain peer' });
    await until(() => reaches(stranger, `${one.subnet}.0`), { what: 'plain packets' });
    assert.ok(await reaches(one.container, two.container.address), 'the others are encrypted as before');
    assert.match(await peersOf(one), /10\.0\.250\.0\/24: packets to it are not encrypted/);
  });
});
