import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportFault } from '../support/fault-report.ts';
import { startFlanneld } from '../support/flanneld.ts';
import { pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { flanneldOn, underTraffic } from './suite.ts';

/*
 * An upgrade in place: a host's kernel and rules as a flannel left them, written by hand as its contract has them, and our
 * flanneld started on it, under traffic of 200 packets a second. flannel's own binaries do the same in mixed-network.test.ts.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

const NETWORK = '10.0.0.0/16';
/** v0.9.1, network/iptables.go: bare rules, appended. */
const RULES_V091 = (subnet: string): string[] => [
  `iptables -t nat -A POSTROUTING -s ${NETWORK} -d ${NETWORK} -j RETURN`,
  `iptables -t nat -A POSTROUTING -s ${NETWORK} ! -d 224.0.0.0/4 -j MASQUERADE`,
  `iptables -t nat -A POSTROUTING ! -s ${NETWORK} -d ${subnet} -j RETURN`,
  `iptables -t nat -A POSTROUTING ! -s ${NETWORK} -d ${NETWORK} -j MASQUERADE`,
  `iptables -A FORWARD -s ${NETWORK} -j ACCEPT`,
  `iptables -A FORWARD -d ${NETWORK} -j ACCEPT`,
];

test('an upgrade from what flannel v0.9.1 left keeps device, MAC, subnet and every packet', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 2 });
  const [one, two] = pairOf(network);
  const { host } = one;
  await (await flanneldOn(host)).stop();
  // A device that flannel made is told from ours by nothing: only rules, identity and memory are.
  const strip = 'iptables -F; iptables -t nat -F; iptables -X; iptables -t nat -X; rm -rf /var/lib/weft';
  await host.must(['sh', '-c', [strip, ...RULES_V091(`${one.subnet}.0/24`)].join('\n')]);
  const key = `/v2/keys/flannel-vxlan/network/subnets/${one.subnet}.0-24`;
  const [device] = await host.ip(['link', 'show', 'flannel.1']);
  const value = `{"PublicIP":"${host.address}","BackendType":"vxlan","BackendData":{"VtepMAC":"${device?.address}"}}`;
  await network.etcd.must(2, ['set', '--ttl=86400', key.slice('/v2/keys'.length), value]);
  // A peer that left while nobody looked.
  await host.batch([
    'neigh add 10.0.250.0 lladdr 02:00:00:00:00:fa dev flannel.1 nud permanent',
    'route add 10.0.250.0/24 via 10.0.250.0 dev flannel.1 onlink',
    'route add 192.168.77.0/24 dev flannel.1',
  ]);
  const { lost } = await underTraffic(network, async () => {
    const { subnetEnv } = await startFlanneld(host, one.flags);
    assert.match(subnetEnv, new RegExp(`^FLANNEL_SUBNET=${one.subnet}\\.1/24$`, 'm'));
  });
  const [after] = await host.ip(['link', 'show', 'flannel.1']);
  assert.deepEqual([after?.ifindex, after?.address], [device?.ifindex, device?.address]);
  const rules = await host.must(['iptables-save']);
  for (const bare of RULES_V091(`${one.subnet}.0/24`)) {
    const rule = bare.replace(/^iptables (-t nat )?/, '');
    assert.ok(!rules.includes(`${rule}\n`), `left: ${rule}`);
  }
  assert.match(rules, /-A FLANNEL-FWD -s 10\.0\.0\.0\/16 .*-j ACCEPT/);
  const routes = await host.must(['ip', 'route', 'show', 'dev', 'flannel.1']);
  assert.doesNotMatch(routes, /10\.0\.250\.0/);
  assert.match(routes, /192\.168\.77\.0\/24/, 'a route of somebody else');
  assert.match(routes, new RegExp(`^${two.subnet}\\.0/24 via`, 'm'));
  assert.equal(lost, 0);
  reportFault({ fault: 'P17 upgrade from v0.9.1, stale peer among its leftovers', repairedMs: [], lost });
});
