import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import { FAULTS, faultCalled, kernelState } from '#src/lab/faults.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * The faults themselves, on a host whose overlay state is made by hand: each must do damage that shows, or the
 * suites built on them prove nothing.
 */
const skip = cannotRun('nft', 'iptables');

const OVERLAY = [
  'link add flannel.1 type vxlan id 1 dev eth0 local 172.16.70.191 dstport 8472 nolearning',
  'addr add 10.0.1.0/32 dev flannel.1',
  'link set flannel.1 address 4e:75:5c:b8:d8:01 mtu 1450 up',
  'neigh add 10.0.2.0 lladdr 4e:75:5c:b8:d8:02 dev flannel.1 nud permanent',
  'route add 10.0.2.0/24 via 10.0.2.0 dev flannel.1 onlink',
];

for (const fault of FAULTS.filter((it) => it.kind === 'host')) {
  test(`${fault.name} changes what the kernel holds`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const [host] = lab.hosts;
    assert.ok(host);
    await host.batch(OVERLAY);
    await host.must([
      'bridge',
      'fdb',
      'add',
      '4e:75:5c:b8:d8:02',
      'dev',
      'flannel.1',
      'dst',
      '172.16.70.192',
    ]);
    await host.must(['iptables', '-A', 'FORWARD', '-s', '10.0.0.0/16', '-j', 'ACCEPT']);
    await host.must(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    const before = await kernelState(host);
    assert.equal(await kernelState(host), before);
    const monitor = await linkMonitor(host);
    await fault.start({ lab, host });
    if (fault.name === 'underlay-flapped') {
      await monitor.waitForLog(/eth0.*state DOWN/);
    } else {
      assert.notEqual(await kernelState(host), before);
    }
  });
}

/** `ip monitor link`. It listens when this returns, for it has reported a change. */
async function linkMonitor(host: Host): Promise<Daemon> {
  const monitor = await host.start('monitor', ['ip', 'monitor', 'link']);
  let changes = 0;
  await until(
    async () => {
      await host.batch([`link set lo alias change-${++changes}`]);
      return (await monitor.log()) !== '';
    },
    { what: 'sign of ip monitor' },
  );
  return monitor;
}

test('an unknown fault is answered with those there are', () => {
  assert.throws(() => faultCalled('gremlins'), {
    code: 'no-such-fault',
    remedy: /route-deleted, .*etcd-slow/,
  });
});
