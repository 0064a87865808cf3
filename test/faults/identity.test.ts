import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/lib/until.ts';
import { reportFault } from '../support/fault-report.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  PREFIX,
  readLease,
  startFlanneld,
  subnetOf,
  WEFT,
} from '../support/flanneld.ts';
import { pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { flanneldOn, freeSubnets, leaseKey, leaseValue, pause } from './suite.ts';

/*
 * Who holds what: two hosts with one address, a host that was installed anew, one that changes its address, a lease that
 * somebody else writes over, a host that is given back.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

test('P4 a second host with the public IP of a living one refuses to start, in one line', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  const third = await network.lab.addHost('h3', 3);
  const flags = [...flagsFor(third, network.etcd), `--public-ip=${one.host.address}`];
  const daemon = await third.start('flanneld', [FLANNELD, ...flags]);
  assert.equal(await daemon.exited(), 1);
  const log = await daemon.log();
  assert.match(log, /the public IP 172\.16\.70\.191 is in use by another living node .*--public-ip/);
  assert.equal(await third.must(['sh', '-c', 'ip link show flannel.1 2>/dev/null || echo none']), 'none\n');
  assert.match(await readLease(network.etcd, 3, one.subnet), /"Node":"/);
  assert.doesNotMatch(await readLease(network.etcd, 3, one.subnet), /AskedBy/);
});

test('P4 a host that was installed anew gets its subnet back', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  await (await flanneldOn(one.host)).stop();
  await one.host.must(['sh', '-c', 'rm -rf /var/lib/weft /run/flannel; ip link del flannel.1']);
  const { subnetEnv, daemon } = await startFlanneld(one.host, one.flags);
  assert.match(await daemon.log(), /Nobody answered: the node .* is gone/);
  assert.equal(subnetOf(subnetEnv), one.subnet);
});

test('P10 a peer that changed MAC and address is followed, and nothing of the old is left', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  const [n] = freeSubnets(network, 1);
  assert.ok(n !== undefined);
  await network.etcd.must(3, ['put', leaseKey(n), leaseValue(n)]);
  const fdb = () => one.host.must(['bridge', 'fdb', 'show', 'dev', 'flannel.1']);
  await until(async () => (await fdb()).includes(`dst 172.16.71.${n}`), { what: 'the first entry' });
  await network.etcd.must(3, ['put', leaseKey(n), leaseValue(n + 1)]);
  await until(async () => (await fdb()).includes(`dst 172.16.71.${n + 1}`), { what: 'the second entry' });
  await until(async () => !(await fdb()).includes(`dst 172.16.71.${n} `), { what: 'the end of the first' });
  const neighbours = await one.host.must(['ip', 'neigh', 'show', `10.0.${n}.0`, 'dev', 'flannel.1']);
  assert.match(
    neighbours,
    new RegExp(`lladdr 02:00:00:00:01:${(n + 1).toString(16).padStart(2, '0')} PERMANENT`),
  );
});

test('P12 a lease that another node holds is left to it, said, and claimed again when it is free', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const { etcd } = network;
  const [one] = pairOf(network);
  const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
  const usurper = leaseValue(99).replace('}}', '},"Node":"somebody-else"}');
  await etcd.must(3, ['put', key], usurper);
  await until(async () => /is now held by 172\.16\.71\.99/.test(await daemonLog(one.host)), {
    what: 'a word on the loss',
  });
  await pause(500);
  assert.equal(await readLease(etcd, 3, one.subnet), usurper);
  const { code, stdout } = await one.host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`]);
  assert.equal(code, 1);
  assert.match(stdout, /NOT READY/);
  await etcd.must(3, ['del', key]);
  await until(async () => /"PublicIP":"172\.16\.70\.191"/.test(await readLease(etcd, 3, one.subnet)), {
    what: 'our lease',
  });
  assert.equal((await one.host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`])).code, 0);
});

test('P14 an underlay address that changes is followed in place, by us and by the peers', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one, two] = pairOf(network);
  await (await flanneldOn(one.host)).stop();
  const flags = one.flags.map((flag) => (flag.startsWith('--iface') ? '--iface=eth0' : flag));
  const { daemon } = await startFlanneld(one.host, flags);
  await one.host.batch(['addr add 172.16.70.77/24 dev eth0', 'addr flush dev eth0 to 172.16.70.191']);
  await daemon.waitForLog(/The underlay is now eth0 with 172\.16\.70\.77/);
  const fdb = () => two.host.must(['bridge', 'fdb', 'show', 'dev', 'flannel.1']);
  await until(async () => (await fdb()).includes('dst 172.16.70.77'), { what: "the peer's entry" });
  assert.doesNotMatch(await fdb(), /172\.16\.70\.191/);
  assert.match(await readLease(network.etcd, 3, one.subnet), /"PublicIP":"172\.16\.70\.77"/);
  assert.match(await one.host.must(['ip', '-d', 'link', 'show', 'flannel.1']), /local 172\.16\.70\.77 /);
  const traffic = await Traffic.start(one.container, two.container.address);
  await pause(500);
  assert.equal((await traffic.stop()).lost, 0);
});

test('P25 weft release gives a lease back, weft plan shows the next start, weft cleanup leaves nothing', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one, two] = pairOf(network);
  const weft = (...words: string[]) => one.host.run([WEFT, ...words, ...one.flags]);
  assert.match((await weft('release')).stderr, /flanneld runs on this host/);
  assert.match((await weft('cleanup')).stderr, /flanneld runs on this host/);
  assert.equal((await weft('plan')).stdout.split('\n')[1], '# nothing to change: the host is as wanted');
  await (await flanneldOn(one.host)).stop();
  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`]);
  const state = await kernelState(one.host);
  const plan = await weft('plan');
  assert.equal(plan.stderr, '');
  assert.match(
    plan.stdout,
    new RegExp(`^ip route replace ${two.subnet}.0/24 via ${two.subnet}.0 dev flannel.1 onlink$`, 'm'),
  );
  assert.equal(await kernelState(one.host), state);
  assert.match((await weft('release')).stdout, new RegExp(`released ${one.subnet}.0-24`));
  assert.equal(await readLease(network.etcd, 3, one.subnet), '');
  await until(async () => (await two.host.must(['ip', 'route', 'show', `${one.subnet}.0/24`])) === '', {
    what: 'the end of the route',
  });
  const cleaned = await weft('cleanup');
  assert.equal(cleaned.code, 0, cleaned.stderr);
  assert.match(await kernelState(one.host), /Device "flannel\.1" does not exist/);
  assert.doesNotMatch(await kernelState(one.host), /FLANNEL|flanneld/);
  assert.equal(await one.host.read('/run/flannel/subnet.env'), undefined);
  assert.equal((await weft('cleanup')).stdout, 'nothing to clean up\n');
});

test('P16 a subnet.env that can not be written for want of room is told, and nothing is lost', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  await (await flanneldOn(one.host)).stop();
  const env = await one.host.read('/run/flannel/subnet.env');
  const before = await kernelState(one.host);
  // In the daemon's own view of the file system: a disk of one page, and that is taken.
  const full =
    'mkdir /run/tiny && mount -n -t tmpfs -o size=4k none /run/tiny && head -c 4096 /dev/zero > /run/tiny/full';
  const start = `${full} && exec ${[FLANNELD, ...one.flags].join(' ')} --subnet-file=/run/tiny/subnet.env`;
  const daemon = await one.host.start('flanneld', ['sh', '-c', start]);
  await daemon.exited();
  assert.match(
    (await daemonLog(one.host)).split('\n').slice(-3).join('\n'),
    /could not write the subnet file \/run\/tiny\/subnet\.env: ENOSPC/,
  );
  assert.equal(await one.host.read('/run/flannel/subnet.env'), env);
  assert.equal(await kernelState(one.host), before);
  reportFault({ fault: 'P16 disk full for subnet.env', repairedMs: [], lost: undefined });
});
