import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import type { Etcd } from '#src/lab/etcd.ts';
import { kernelState } from '#src/lab/faults.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { FLANNELD, PREFIX, startFlanneld } from '../support/flanneld.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { assertFollowed, flanneldOn, sharedNetwork, TIMES, underTraffic } from './suite.ts';

/*
 * Restarts and upgrades in place, while c on h1 sends 200 packets a second to c on h2: ours by ours, killed or not, and
 * ours after a flannel. What a flannel leaves is made by hand, as its source has it (v0.9.1: backend/vxlan/device.go,
 * network/iptables.go; HEAD: pkg/backend/vxlan, pkg/trafficmngr/iptables). Its own binaries: mixed-network.test.ts.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const NETWORK = '10.0.0.0/16';

describe('ours after ours', () => {
  const network = sharedNetwork(skip, { api: 3 });

  for (const how of ['SIGTERM', 'SIGKILL'] as const) {
    test(`${how} and a restart lose no packet`, { skip }, async () => {
      const [one] = pairOf(network());
      const before = await kernelState(one.host);
      const repairedMs: number[] = [];
      const { lost } = await underTraffic(network(), async () => {
        for (let time = 0; time < TIMES; time++) {
          const began = performance.now();
          const daemon = await flanneldOn(one.host);
          daemon.kill(how);
          await daemon.exited();
          await startFlanneld(one.host, one.flags);
          repairedMs.push(performance.now() - began);
          assert.equal(await kernelState(one.host), before);
        }
      });
      reportFault({ fault: `${how} and a restart`, repairedMs, lost, note: 'ok, until it is ready again' });
      assert.equal(lost, 0);
    });
  }

  test('a program that is replaced under way goes on, and its successor loses no packet', {
    skip,
  }, async () => {
    const [one] = pairOf(network());
    const before = await kernelState(one.host);
    const folder = await mkdtemp(join(tmpdir(), 'weft-replaced-'));
    try {
      const { lost } = await underTraffic(network(), async () => {
        await (await flanneldOn(one.host)).stop();
        const { daemon } = await startFlanneld(one.host, one.flags, await copyProgram(folder));
        await rm(folder, { recursive: true });
        const program = await copyProgram(folder);
        await assertFollowed(network(), 3);
        assert.equal(await daemon.stop(), 0);
        await startFlanneld(one.host, one.flags, program);
        assert.equal(await kernelState(one.host), before);
        await (await flanneldOn(one.host)).stop();
        await startFlanneld(one.host, one.flags);
      });
      reportFault({ fault: 'program replaced', repairedMs: [], lost });
      assert.equal(lost, 0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** A copy of flanneld with all that it needs, in a folder that need not be there yet; its path. */
async function copyProgram(folder: string): Promise<string> {
  const program = join(folder, 'bin', 'flanneld');
  await cp(FLANNELD, program, { dereference: true });
  const root = dirname(dirname(FLANNELD));
  if (process.env.WEFT_FLANNELD === undefined) {
    for (const part of ['src', 'package.json'])
      await cp(join(root, part), join(folder, part), { recursive: true });
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  }
  return program;
}

/** A flannel, by what it leaves on a host with this subnet (`10.0.65`), and in etcd. */
interface Flannel {
  readonly name: string;
  readonly api: 2 | 3;
  /** Words after `iptables`. */
  rules(subnet: string): readonly string[];
  lease(publicIp: string, mac: string): string;
}

const MASQ = '-m comment --comment "flanneld masq"';
const FORWARD = '-m comment --comment "flanneld forward"';
const V091: Flannel = {
  name: 'v0.9.1',
  api: 2,
  rules: (subnet) => [
    `-t nat -A POSTROUTING -s ${NETWORK} -d ${NETWORK} -j RETURN`,
    `-t nat -A POSTROUTING -s ${NETWORK} ! -d 224.0.0.0/4 -j MASQUERADE`,
    `-t nat -A POSTROUTING ! -s ${NETWORK} -d ${subnet}.0/24 -j RETURN`,
    `-t nat -A POSTROUTING ! -s ${NETWORK} -d ${NETWORK} -j MASQUERADE`,
    `-A FORWARD -s ${NETWORK} -j ACCEPT`,
    `-A FORWARD -d ${NETWORK} -j ACCEPT`,
  ],
  lease: (publicIp, mac) =>
    `{"PublicIP":"${publicIp}","BackendType":"vxlan","BackendData":{"VtepMAC":"${mac}"}}`,
};
const HEAD: Flannel = {
  name: 'HEAD',
  api: 3,
  rules: (subnet) => [
    '-t nat -N FLANNEL-POSTRTG',
    `-t nat -A POSTROUTING ${MASQ} -j FLANNEL-POSTRTG`,
    `-t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${MASQ} -j RETURN`,
    `-t nat -A FLANNEL-POSTRTG -s ${subnet}.0/24 -d ${NETWORK} ${MASQ} -j RETURN`,
    `-t nat -A FLANNEL-POSTRTG -s ${NETWORK} -d ${subnet}.0/24 ${MASQ} -j RETURN`,
    `-t nat -A FLANNEL-POSTRTG ! -s ${NETWORK} -d ${subnet}.0/24 ${MASQ} -j RETURN`,
    `-t nat -A FLANNEL-POSTRTG -s ${NETWORK} ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
    `-t nat -A FLANNEL-POSTRTG ! -s ${NETWORK} -d ${NETWORK} ${MASQ} -j MASQUERADE --random-fully`,
    '-N FLANNEL-FWD',
    `-A FORWARD ${FORWARD} -j FLANNEL-FWD`,
    `-A FLANNEL-FWD -s ${NETWORK} ${FORWARD} -j ACCEPT`,
    `-A FLANNEL-FWD -d ${NETWORK} ${FORWARD} -j ACCEPT`,
  ],
  lease: (publicIp, mac) =>
    `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`,
};

const FLANNEL_MAC = '82:4b:b6:2f:54:4e';
const FOREIGN_ROUTE = '192.168.77.0/24 dev flannel.1';

for (const flannel of [V091, HEAD]) {
  test(`P17 an upgrade from what flannel ${flannel.name} left keeps device, MAC, subnet and every packet`, {
    skip,
  }, async (t) => {
    const network = await testNetwork(t, { api: flannel.api });
    const [one, two] = pairOf(network);
    const { host } = one;
    const [ours] = await host.ip(['link', 'show', 'flannel.1']);
    const wanted = (await kernelState(host)).replaceAll(ours?.address ?? '', FLANNEL_MAC);
    await (await flanneldOn(host)).stop();
    await leave(flannel, one, two);
    await writeLease(network.etcd, flannel, one);
    // The first packet has its answer only where the peer has heard of the other MAC.
    const neighbour = ['ip', 'neigh', 'show', `${one.subnet}.0`, 'dev', 'flannel.1'];
    await until(async () => (await two.host.must(neighbour)).includes(FLANNEL_MAC), {
      what: 'a peer that knows the MAC of the flannel',
    });
    const [device] = await host.ip(['link', 'show', 'flannel.1']);
    const { lost } = await underTraffic(network, async () => {
      const { subnetEnv } = await startFlanneld(host, one.flags);
      assert.match(subnetEnv, new RegExp(`^FLANNEL_SUBNET=${one.subnet}\\.1/24$`, 'm'));
    });
    const [after] = await host.ip(['link', 'show', 'flannel.1']);
    assert.deepEqual([after?.ifindex, after?.address], [device?.ifindex, FLANNEL_MAC]);
    await host.batch([`route del ${FOREIGN_ROUTE}`]);
    assert.equal(await kernelState(host), wanted);
    assert.equal(lost, 0);
    reportFault({ fault: `P17 upgrade from flannel ${flannel.name}`, repairedMs: [], lost });
  });
}

/** What is ours goes, and what the flannel would have left comes in its place, with a peer that left unseen. */
async function leave(flannel: Flannel, { host, subnet }: Node, peer: Node): Promise<void> {
  const [vtep] = await peer.host.ip(['link', 'show', 'flannel.1']);
  await host.must([
    'sh',
    '-ec',
    [
      'ip link del flannel.1; rm -r /var/lib/weft',
      'iptables -F; iptables -t nat -F; iptables -X; iptables -t nat -X',
      ...flannel.rules(subnet).map((rule) => `iptables ${rule}`),
      `ip link add flannel.1 txqueuelen 0 address ${FLANNEL_MAC} type vxlan id 1 local ${host.address} dev eth0 dstport 8472 nolearning`,
      `ip addr add ${subnet}.0/32 dev flannel.1`,
      'ip link set flannel.1 up',
      ...peerCommands(peer.subnet, vtep?.address ?? '', peer.host.address),
      ...peerCommands('10.0.250', '02:00:00:00:00:fa', '172.16.71.250'),
      `ip route add ${FOREIGN_ROUTE}`,
    ].join('\n'),
  ]);
}

const peerCommands = (subnet: string, mac: string, address: string): string[] => [
  `ip neigh replace ${subnet}.0 lladdr ${mac} dev flannel.1 nud permanent`,
  `bridge fdb add ${mac} dev flannel.1 dst ${address} self permanent`,
  `ip route add ${subnet}.0/24 via ${subnet}.0 dev flannel.1 onlink`,
];

/** The flannel's own lease, with a day to live. */
async function writeLease(etcd: Etcd, flannel: Flannel, { host, subnet }: Node): Promise<void> {
  const key = `${PREFIX}/subnets/${subnet}.0-24`;
  const value = flannel.lease(host.address, FLANNEL_MAC);
  if (flannel.api === 2) {
    await etcd.must(2, ['set', '--ttl=86400', key, value]);
    return;
  }
  const granted = /lease (\S+) granted/.exec(await etcd.must(3, ['lease', 'grant', '86400']))?.[1];
  await etcd.must(3, ['put', `--lease=${granted}`, key, value]);
}
