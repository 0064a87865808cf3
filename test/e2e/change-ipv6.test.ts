import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { assertNothingLost, change, configOf } from '../support/changing-hosts.ts';
import { type DualNetwork, dualNetwork, route6 } from '../support/dual-network.ts';
import { daemonLog } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network of IPv6 alone changes its backend, as one of IPv4 does. Each container pings the other one, each 5 ms:
 *
 *     store .190 etcd     h1 fd77::1 flanneld ── docker0 ── c  ⇄  h2 fd77::2 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const configWith = (backend: string): string =>
  `{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":${backend}}`;

interface Changing {
  readonly network: DualNetwork;
  readonly ring: readonly Traffic[];
  /** Devices of vxlan on each host, and what each route to the other one says. */
  readonly arriveAt: (devices: readonly string[], route: RegExp) => Promise<void>;
}

async function changing(t: TestContext, backend: string): Promise<Changing> {
  const network = await dualNetwork(t, { config: configWith(backend) });
  const { one, two } = network;
  const pairs = [
    [one, two],
    [two, one],
  ] as const;
  const ring = await Promise.all(
    pairs.map(([from, to]) => Traffic.start(from.container, to.address6, { perSecond: 200 })),
  );
  const devicesOf = async (host: Host): Promise<string[]> =>
    (await host.ip(['link', 'show', 'type', 'vxlan'])).map(({ ifname }) => String(ifname)).sort();
  const arriveAt = async (devices: readonly string[], route: RegExp): Promise<void> => {
    for (const [{ host }, other] of pairs) {
      await until(async () => String(await devicesOf(host)) === String(devices) || undefined, {
        what: `devices ${devices} on ${host.name}`,
        timeoutMs: 15_000,
      });
      assert.match(await route6(host, other.subnet6), route, host.name);
      assert.doesNotMatch(await daemonLog(host), /error|warning/i, host.name);
    }
  };
  return { network, ring, arriveAt };
}

test('IPv6 alone, VNI 1 → 7, then the port alone: nothing is lost', { skip }, async (t) => {
  const { network, ring, arriveAt } = await changing(t, '{"Type":"vxlan"}');
  const there = await change(network, '--vni=7');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await arriveAt(['flannel-v6.7'], / dev flannel-v6\.7 /);
  const port = await change(network, '--port=4789');
  assert.equal(port.code, 0, port.stdout + port.stderr);
  await arriveAt(['flannel-v6-7'], / dev flannel-v6-7 /);
  await assertNothingLost(ring);
  assert.equal(await configOf(network, 3), configWith('{"Type":"vxlan","VNI":7,"Port":4789}'));
});

test('IPv6 alone, DirectRouting on and off, vxlan → host-gw and back: nothing is lost', {
  skip,
}, async (t) => {
  const { network, ring, arriveAt } = await changing(t, '{"Type":"vxlan"}');
  for (const [value, route] of [
    ['true', / via fd77::\d dev eth0 /],
    ['false', / dev flannel-v6\.1 /],
  ] as const) {
    const turned = await change(network, `--option=DirectRouting=${value}`);
    assert.equal(turned.code, 0, turned.stdout + turned.stderr);
    await arriveAt(['flannel-v6.1'], route);
  }
  const there = await change(network, '--backend=host-gw');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await arriveAt([], / via fd77::\d dev eth0 /);
  const back = await change(network, '--backend=vxlan', '--vni=9', '--accept-smaller-mtu');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await arriveAt(['flannel-v6.9'], / dev flannel-v6\.9 /);
  await assertNothingLost(ring);
});

test('IPv6 alone: a peer that the new path does not reach holds the change up, and an abort leads back', {
  skip,
}, async (t) => {
  const { network, ring, arriveAt } = await changing(t, '{"Type":"vxlan"}');
  const { two } = network;
  await two.host.must([
    'nft',
    'add table ip6 t; add chain ip6 t in { type filter hook input priority 0; }; add rule ip6 t in udp dport 4789 drop',
  ]);
  const held = await change(network, '--vni=7', '--port=4789', '--wait=6s');
  assert.equal(held.code, 3, held.stdout + held.stderr);
  assert.match(held.stdout, /nothing passes by the new path/);
  const aborted = await change(network, '--abort');
  assert.equal(aborted.code, 0, aborted.stdout + aborted.stderr);
  await arriveAt(['flannel-v6.1'], / dev flannel-v6\.1 /);
  await assertNothingLost(ring);
});
