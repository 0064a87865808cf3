import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { makeTable, readCounters } from '#src/firewall/own-table.ts';
import { sealedTable } from '#src/firewall/sealed-port.ts';
import { until } from '#src/sys/until.ts';
import { cannotRun } from '../support/test-lab.ts';
import { Namespace } from './namespace.ts';

/*
 * Two hosts with two vxlan devices each on one UDP port: VNI 1 is sealed, VNI 2 is not. A pair of veth devices stands for
 * the tunnel that encrypts.
 *
 *     flannel.1 10.5.1.0, flannel.2 10.6.1.0   u0 192.0.2.1 ═══ 192.0.2.2 u0   flannel.1 10.5.2.0, flannel.2 10.6.2.0
 *                                              weft-wg.1 ═══════════ weft-wg.1
 */
const skip = cannotRun('nft', 'ping', 'bridge');
const PORT = 8472;

async function hosts(t: TestContext): Promise<readonly [Namespace, Namespace]> {
  const both = [await Namespace.make(t), await Namespace.make(t)] as const;
  for (const device of ['u0', 'weft-wg.1'])
    await both[0].must(`ip link add ${device} type veth peer name ${device} netns ${both[1].name}`);
  for (const [at, host] of both.entries()) {
    const [own, other] = [at + 1, 2 - at];
    const lines = [
      'sysctl -qw net.ipv4.conf.all.rp_filter=1',
      'sysctl -qw net.ipv4.conf.weft-wg/1.rp_filter=2',
      'ip link set lo up',
      `ip address add 192.0.2.${own}/24 dev u0`,
      'ip link set u0 up',
      // Without ARP a frame goes to the device's own MAC, which is therefore the other end's, too. WireGuard has none.
      'ip link set weft-wg.1 address 02:00:00:00:00:77 arp off up',
      // A device without an address takes nothing under rp_filter (net/ipv4/fib_frontend.c).
      `ip address add 10.5.${own}.0/32 dev weft-wg.1`,
      ...[1, 2].flatMap((vni) => [
        `ip link add flannel.${vni} address 02:00:00:00:0${vni}:0${own} type vxlan id ${vni} local 192.0.2.${own} dev u0 dstport ${PORT} nolearning`,
        `ip address add 10.${4 + vni}.${own}.0/32 dev flannel.${vni}`,
        `ip link set flannel.${vni} up`,
        `ip neigh add 10.${4 + vni}.${other}.0 lladdr 02:00:00:00:0${vni}:0${other} dev flannel.${vni} nud permanent`,
        `ip route add 10.${4 + vni}.${other}.0/32 via 10.${4 + vni}.${other}.0 dev flannel.${vni} onlink`,
      ]),
    ];
    for (const line of lines) await host.must(line);
  }
  return both;
}

const setEntries = async (hosts: readonly Namespace[], vni: number, via: string): Promise<void> => {
  for (const [at, host] of hosts.entries())
    await host.must(
      `bridge fdb replace 02:00:00:00:0${vni}:0${2 - at} dev flannel.${vni} dst 192.0.2.${2 - at}${via}`,
    );
};

const answers = async (host: Namespace, address: string): Promise<boolean> =>
  (await host.run(['ping', '-c2', '-i0.1', '-W1', address])).code === 0;
/** The first packets wait for the devices' carrier, and for ARP. */
const reaches = (host: Namespace, address: string, what: string): Promise<boolean> =>
  until(() => answers(host, address), { what });

test('a sealed port takes packets only as they come out of the tunnel', { skip }, async (t) => {
  const both = await hosts(t);
  const [one, two] = both;
  await setEntries(both, 1, '');
  await setEntries(both, 2, '');
  await reaches(one, '10.5.2.0', 'plain packet that the kernel takes');

  const table = sealedTable({ port: PORT, vni: 1, device: 'weft-wg.1' });
  for (const host of both) await host.must('nft -f -', makeTable(table, []));
  assert.ok(!(await answers(one, '10.5.2.0')), 'a plain packet is dropped');
  const counters = readCounters(await two.must(`nft -j list counters table inet ${table.name}`));
  assert.ok((counters.get('plain') ?? 0) >= 2, 'and counted');
  await reaches(one, '10.6.2.0', 'packet of another network on the same port');

  await setEntries(both, 1, ' via weft-wg.1');
  await reaches(one, '10.5.2.0', 'packet through the tunnel');
  await setEntries([one], 1, '');
  assert.ok(!(await answers(one, '10.5.2.0')), 'one end alone can not go back to plain packets');
});
