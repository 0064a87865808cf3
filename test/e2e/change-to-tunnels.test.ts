import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { patience, until } from '#src/sys/until.ts';
import {
  assertNothingLost,
  assertPaths,
  CONFIG,
  change,
  configOf,
  ringOf,
  strict,
  waitForMtu,
  waitForSourceCheck,
} from '../support/changing-hosts.ts';
import { readLease, WEFT } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { type Network, type NetworkOptions, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network under traffic changes to WireGuard or ipip, and back to VXLAN. Each container pings the other one:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c  ⇄  h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping') || (await lacks('wireguard'));
/** An emulated machine can't send more besides what it does. */
const PER_SECOND = patience() > 1 ? 20 : 200;

/** A network whose hosts have strict source checks. */
async function networkOf(t: TestContext, options: Partial<NetworkOptions> = {}): Promise<Network> {
  const network = await testNetwork(t, { api: 3, config: CONFIG, ...options });
  await strict(network.nodes.map(({ host }) => host));
  return network;
}

test('vxlan → wireguard, and back: nothing is lost', { skip }, async (t) => {
  const network = await networkOf(t);
  const ring = await ringOf(network, PER_SECOND);
  const { code, stdout, stderr } = await change(network, '--backend=wireguard', '--accept-smaller-mtu');
  assert.equal(code, 0, stdout + stderr);
  await assertPaths(network.nodes, ['routes by flannel-wg']);
  assert.match(await configOf(network, 3), /"Backend":\{"Type":"wireguard"\}\}$/);
  for (const { host } of network.nodes) await waitForSourceCheck(host, 'flannel-wg');
  for (const { host, subnet } of network.nodes) {
    assert.match(
      await readLease(network.etcd, 3, subnet),
      /"BackendData":\{"PublicKey":"[^"]+","Port":51820\}/,
    );
    await waitForMtu(host, 1420);
  }
  const back = await change(network, '--backend=vxlan', '--vni=7');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  await assertNothingLost(ring);
  for (const { host } of network.nodes) await waitForMtu(host, 1450);
});

const noIpip = cannotRun('etcd', 'etcdctl', 'ping') || (await lacks('ipip'));

test('vxlan → wireguard, whose keys are rotated without a restart, → ipip: nothing is lost', {
  skip: skip || noIpip,
}, async (t) => {
  const flags = ['--wireguard-rotate=24h', '--wireguard-rotate-wait=60s'];
  const network = await networkOf(t, { flags });
  const [one] = network.nodes;
  assert.ok(one);
  const ring = await ringOf(network, PER_SECOND);
  const there = await change(network, '--backend=wireguard', '--accept-smaller-mtu');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(network.nodes, ['routes by flannel-wg']);
  const asked = await until(
    async () => {
      const { code, stderr } = await one.host.run([WEFT, 'rotate', ...one.flags], {
        timeoutMs: 10_000 * patience(),
      });
      return code === 0 || /one is under way/.test(stderr) ? true : undefined;
    },
    { what: 'rotation that is asked for', timeoutMs: 30_000, intervalMs: 2_000 },
  );
  assert.ok(asked);
  for (const { host, subnet } of network.nodes) {
    await until(
      async () => {
        const lease = JSON.parse(await readLease(network.etcd, 3, subnet));
        return JSON.stringify(lease.Weft) === '{"Wireguard":{"Generation":2}}' || undefined;
      },
      { what: `second key of ${host.name}`, timeoutMs: 90_000, intervalMs: 2_000 },
    );
  }
  await assertPaths(network.nodes, ['routes by flannel-wg.b']);
  const on = await change(network, '--backend=ipip');
  assert.equal(on.code, 0, on.stdout + on.stderr);
  await assertPaths(network.nodes, ['routes by flannel.ipip']);
  await assertNothingLost(ring);
  for (const { host, subnet } of network.nodes) {
    // Both go when the host has read that the change is over.
    await until(
      async () =>
        (await host.ip(['link', 'show', 'type', 'wireguard'])).length === 0 &&
        !/Wireguard|Weft/.test(await readLease(network.etcd, 3, subnet)),
      { what: `end of WireGuard on ${host.name}`, intervalMs: 500 },
    );
    await waitForSourceCheck(host, 'flannel.ipip');
  }
});

test('vxlan → ipip, which gets DirectRouting, and back: nothing is lost', { skip: noIpip }, async (t) => {
  const network = await networkOf(t);
  const ring = await ringOf(network, PER_SECOND);
  const there = await change(network, '--backend=ipip');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(network.nodes, ['routes by flannel.ipip']);
  for (const { host } of network.nodes) await waitForMtu(host, 1480);
  const direct = await change(network, '--option=DirectRouting=true');
  assert.equal(direct.code, 0, direct.stdout + direct.stderr);
  await assertPaths(network.nodes, ['routes by eth0']);
  const back = await change(network, '--backend=vxlan', '--accept-smaller-mtu');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(network.nodes, ['device flannel.1', 'routes by flannel.1']);
  await assertNothingLost(ring);
});
