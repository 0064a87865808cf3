import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { dualNetwork, readDualLease, wholePacket } from '../support/dual-network.ts';
import { lacks } from '../support/kernel-has.ts';
import { readyOn } from '../support/node-status.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Networks of both families over one WireGuard device, whose endpoints are IPv4, IPv6, or chosen:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'wg') || (await lacks('wireguard'));
const BOTH = '"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
const MTU = 1420;

const publicKeyOf = async (host: Host): Promise<string> =>
  (await host.must(['sh', '-c', 'wg pubkey </run/flannel/wgkey'])).trim();

/** The words of the only peer in `wg show flannel-wg dump`. */
async function peerOn(host: Host): Promise<string[]> {
  const [, peer, ...more] = (await host.must(['wg', 'show', 'flannel-wg', 'dump'])).trim().split('\n');
  assert.deepEqual(more, []);
  return peer?.split('\t') ?? [];
}

for (const [mode, isIpv6] of [
  ['ipv4', false],
  ['ipv6', true],
  // No address here is a public one, so that it is IPv4.
  ['auto', false],
] as const) {
  test(`mode ${mode}: one device carries both families, to endpoints of IPv${isIpv6 ? 6 : 4}`, {
    skip,
  }, async (t) => {
    const options = `"Mode":"${mode}","PersistentKeepaliveInterval":5,"ListenPort":51900`;
    const config = `{${BOTH},"Backend":{"Type":"wireguard",${options}}}`;
    const { etcd, one, two } = await dualNetwork(t, { config });
    for (const [here, there] of [
      [one, two],
      [two, one],
    ] as const) {
      const [key, theirs] = [await publicKeyOf(here.host), await publicKeyOf(there.host)];
      const data = `{"PublicKey":"${key}","Port":51900}`;
      assert.equal(
        (await readDualLease(etcd, 3, here)).replace(/,"Node":"[^"]+"\}$/, '}'),
        `{"PublicIP":"${here.host.address}","PublicIPv6":"${here.host6}","BackendType":"wireguard","BackendData":${data},"BackendV6Data":${data}}`,
      );
      assert.deepEqual(
        (await here.host.ip(['link', 'show', 'type', 'wireguard'])).map(({ ifname }) => ifname),
        ['flannel-wg'],
      );
      const [publicKey, psk, endpoint, allowed, , , , keepalive] = await peerOn(here.host);
      assert.deepEqual([publicKey, psk, keepalive], [theirs, '(none)', '5']);
      assert.equal(endpoint, isIpv6 ? `[${there.host6}]:51900` : `${there.host.address}:51900`);
      assert.deepEqual(allowed?.split(',').sort(), [`${there.subnet}.0/24`, there.subnet6].sort());
      assert.ok(await wholePacket(here.container, there.container.address, MTU), 'IPv4');
      assert.ok(await wholePacket(here.container, there.address6, MTU), 'IPv6');
      await readyOn(here.host);
    }
  });
}
