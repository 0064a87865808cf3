import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { until } from '#src/lib/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { daemonLog, PREFIX, startFlanneld } from '../support/flanneld.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  assertFollowed,
  flanneldOn,
  freeSubnets,
  leaseValue,
  pause,
  sharedNetwork,
  underTraffic,
} from './suite.ts';

/*
 * Keys and values that no flannel writes, put under the leases while c on h1 sends to c on h2: peers stay, nothing of
 * it reaches the kernel, each is told once with its reason, and the next good lease is taken.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const network = sharedNetwork(skip, { api: 3 });

/** What is put, by key below `subnets/`, and what the log must say of it. */
function hostileRecords(
  own: string,
  peer: string,
  free: readonly number[],
): readonly [key: string, value: string, said: RegExp][] {
  const [a = 0] = free;
  const value = (changes: Record<string, unknown>): string =>
    JSON.stringify({ ...JSON.parse(leaseValue(a)), ...changes });
  const mac = (text: string): string => value({ BackendData: { VtepMAC: text } });
  // Each has a subnet of its own: the same reason for the same lease is not said twice.
  const names = free.map((n) => `10.0.${n}.0-24`);
  const next = (): string => names.pop() ?? assert.fail('no subnet is left');
  return [
    ['junk', leaseValue(a), /its key is not a subnet/],
    [`10.0.${a}.0_24`, leaseValue(a), /its key is not a subnet/],
    [`10.0.${a}.0-24/deeper`, leaseValue(a), /its key is not a subnet/],
    [`10.0.${a}.7-24`, leaseValue(a), /its key is not a subnet/],
    ['999.0.1.0-24', leaseValue(a), /its key is not a subnet/],
    ['192.168.9.0-24', leaseValue(a), /not in the network/],
    ['0.0.0.0-0', leaseValue(a), /not in the network|wider/],
    [`${own}.128-25`, leaseValue(a), /overlaps ours/],
    [`${peer}.128-25`, leaseValue(a), /overlaps that of/],
    [next(), ' ', /not JSON/],
    [next(), '{"PublicIP":', /not JSON/],
    [next(), '[]', /not a JSON object/],
    [next(), 'x'.repeat(100_000), /has 100000 characters/],
    [next(), value({ PublicIP: 'localhost' }), /PublicIP/],
    [next(), value({ PublicIP: '127.0.0.1' }), /not a host's address/],
    [next(), value({ PublicIP: '172.16.70.191' }), /is ours/],
    [next(), value({ PublicIP: '10.0.3.4' }), /inside the network/],
    [next(), value({ BackendType: 'host-gw' }), /backend is/],
    [next(), mac('hello'), /VtepMAC/],
    [next(), mac('ff:ff:ff:ff:ff:ff'), /not a unicast/],
    [next(), value({ BackendData: null }), /VtepMAC/],
  ];
}

test('hostile keys and values are left out, each said once; peers stay', { skip }, async () => {
  const { etcd } = network();
  const [one, two] = pairOf(network());
  const records = hostileRecords(one.subnet, two.subnet, freeSubnets(network(), 20));
  const before = await kernelState(one.host);
  const { lost } = await underTraffic(network(), async () => {
    for (const [key, value, said] of records) {
      const path = `${PREFIX}/subnets/${key}`;
      const seen = (await daemonLog(one.host)).length;
      await etcd.must(3, ['put', path], value);
      await until(async () => said.test((await daemonLog(one.host)).slice(seen)), {
        what: `a word on ${key} (${said})`,
        timeoutMs: 10_000,
      });
      assert.equal(await kernelState(one.host), before, key);
      // Written again with the same text, as a renewal is: nothing new to say.
      const told = (await daemonLog(one.host)).length;
      await etcd.must(3, ['put', path], value);
      await pause(50);
      assert.doesNotMatch((await daemonLog(one.host)).slice(told), /Ignoring/);
    }
    await assertFollowed(network(), 3);
  });
  assert.equal(lost, 0);
  reportFault({
    fault: `P10 ${records.length} hostile keys and values, while it runs`,
    repairedMs: [],
    lost,
  });
});

test('hostile keys and values that are there before the start are left out as well', { skip }, async () => {
  const [one] = pairOf(network());
  const before = await kernelState(one.host);
  const { lost } = await underTraffic(network(), async () => {
    const daemon = await flanneldOn(one.host);
    daemon.kill('SIGKILL');
    await daemon.exited();
    await startFlanneld(one.host, one.flags);
    await assertFollowed(network(), 3);
  });
  assert.equal(await kernelState(one.host), before);
  assert.equal(lost, 0);
  reportFault({ fault: 'P10 hostile keys and values, before the start', repairedMs: [], lost });
});
