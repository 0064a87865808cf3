import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Etcd } from '#src/lab/etcd.ts';
import { faultCalled, kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { flagsFor, PREFIX, startFlanneld, subnetOf, waitForRoute, writeConfig } from '../support/flanneld.ts';
import { pairOf, startNode, testNetwork } from '../support/network.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';
import { assertFollowed, flanneldOn, pause } from './suite.ts';

/*
 * Outages that need a network of their own: another etcd, or a host that starts without one.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

test('P9 etcd v2 index cleared: a frozen flanneld that missed a thousand events lists again', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 2 });
  const [one, two] = pairOf(network);
  const traffic = await Traffic.start(one.container, two.container.address);
  const daemon = await flanneldOn(one.host);
  daemon.kill('SIGSTOP');
  // etcd v2 keeps the last thousand events of the whole store.
  const url = `http://${network.lab.store.address}:2379/v2/keys/busy`;
  const script = `
    const put = () => fetch('${url}', { method: 'PUT', body: new URLSearchParams({ value: 'x' }) }).then((answer) => answer.text());
    for (let n = 0; n < 24; n++) await Promise.all(Array.from({ length: 50 }, put));`;
  const argv = [process.execPath, '--input-type=module', '--eval', script] as const;
  const { code } = await network.lab.store.run(argv, { timeoutMs: 60_000 });
  assert.equal(code, 0);
  daemon.kill('SIGCONT');
  await assertFollowed(network, 2);
  const { lost } = await traffic.stop();
  reportFault({ fault: 'P9 etcd v2 index cleared', repairedMs: [], lost });
  assert.equal(lost, 0);
});

test('P8 one of three members lost: the others are asked', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 2 });
  const etcd = await Etcd.start(lab, { members: 3 });
  await writeConfig(etcd, 3);
  const nodes = [];
  for (const host of lab.hosts) nodes.push(await startNode(host, flagsFor(host, etcd)));
  const network = { lab, etcd, nodes };
  const [one, two] = pairOf(network);
  await waitForRoute(one.host, two.subnet);
  await waitForRoute(two.host, one.subnet);
  const traffic = await Traffic.start(one.container, two.container.address);
  for (const member of etcd.members) {
    await member.kill();
    await pause(1_000);
    await assertFollowed(network, 3);
    await member.start();
    await etcd.ready();
  }
  const { lost } = await traffic.stop();
  reportFault({ fault: 'P8 each of three members lost in turn', repairedMs: [], lost });
  assert.equal(lost, 0);
});

test('P8, P16 a start without etcd forwards with the peers last known, and says so', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const { etcd, lab } = network;
  const [one, two] = pairOf(network);
  const before = await kernelState(one.host);
  const env = await one.host.read('/run/flannel/subnet.env');
  await (await flanneldOn(one.host)).stop();
  // As after a reboot: what was in the kernel is gone, and subnet.env with it.
  await one.host.must([
    'sh',
    '-c',
    'ip link del flannel.1; iptables -F; iptables -t nat -F; rm /run/flannel/subnet.env',
  ]);
  const fault = faultCalled('etcd-killed');
  await fault.start({ lab, etcd, host: one.host });
  const began = performance.now();
  const { daemon, subnetEnv } = await startFlanneld(one.host, one.flags);
  const ms = performance.now() - began;
  assert.match(
    await daemon.log(),
    /The registry does not answer: forwarding with subnet .* and the 1 peers known \d+ s ago/,
  );
  assert.equal(subnetEnv, env);
  const traffic = await Traffic.start(one.container, two.container.address);
  await pause(1_000);
  await fault.end({ lab, etcd, host: one.host });
  await daemon.waitForLog(/the registry is back/, 30_000);
  assert.equal(subnetOf(env ?? ''), one.subnet);
  assert.equal(await kernelState(one.host), before);
  await assertFollowed(network, 3);
  const { lost } = await traffic.stop();
  reportFault({
    fault: 'P8, P16 start without etcd',
    repairedMs: [ms],
    lost,
    note: `ok, waits 3 s for etcd first`,
  });
  assert.equal(lost, 0);
});

test('P13 a subnet survives the loss of /run, by the identity of the node', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  await (await flanneldOn(one.host)).stop();
  await one.host.must(['rm', '/run/flannel/subnet.env']);
  const { subnetEnv } = await startFlanneld(one.host, one.flags);
  assert.equal(subnetOf(subnetEnv), one.subnet);
});

test('P11 a lease that is removed is claimed again, with the same subnet', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const { etcd } = network;
  const [one, two] = pairOf(network);
  const traffic = await Traffic.start(one.container, two.container.address);
  const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
  const repairedMs: number[] = [];
  for (let time = 0; time < 5; time++) {
    const began = performance.now();
    await etcd.must(3, ['del', key]);
    await until(async () => (await etcd.must(3, ['get', key])) !== '', {
      what: 'the lease',
      timeoutMs: 10_000,
      intervalMs: 1,
    });
    repairedMs.push(performance.now() - began);
    await pause(200);
  }
  assert.ok((await flanneldOn(one.host)).isAlive());
  const { lost } = await traffic.stop();
  reportFault({ fault: 'P11 lease removed', repairedMs, lost, note: 'ok, etcdctl included' });
});
