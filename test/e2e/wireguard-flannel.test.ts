import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import { wholePacket } from '../support/dual-network.ts';
import {
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  startFlanneld,
  startStore,
  waitForRoute,
  writeConfig,
} from '../support/flanneld.ts';
import { lacks, loadModule } from '../support/kernel-has.ts';
import { startNode } from '../support/network.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * A network over WireGuard with a host of weft's and one of flannel's:
 *
 *     store .190 etcd     h1 .191 flanneld (weft) ── docker0 ── c     h2 .192 flannel HEAD ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'wg') || (await lacks('wireguard')) || noPeer(3);
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"wireguard"}}';
const MTU = 1420;

const peersOn = async (host: Host): Promise<string> =>
  (await host.must(['wg', 'show', 'flannel-wg', 'allowed-ips'])).trim();
const indexOf = async (host: Host): Promise<unknown> =>
  (await host.ip(['link', 'show', 'dev', 'flannel-wg']))[0]?.ifindex;

test('a mixed pair works, and weft takes over a flannel’s device without losing a packet', {
  skip,
}, async (t) => {
  loadModule('br_netfilter');
  const lab = await testLab(t, { hosts: 2 });
  const [one, two] = lab.hosts;
  assert.ok(one && two);
  const etcd = await startStore(lab, 'etcd');
  await writeConfig(etcd, 3, CONFIG);
  const ours = await startNode(one, flagsFor(one, etcd));
  const theirs = await startNode(two, flagsFor(two, etcd), PEERS.v3 ?? assert.fail());
  await waitForRoute(one, theirs.subnet);
  await until(async () => (await peersOn(two)).includes(ours.subnet), {
    what: 'our host among the peers of flannel',
    timeoutMs: 15_000,
  });
  assert.ok(await wholePacket(ours.container, theirs.container.address, MTU));
  assert.ok(await wholePacket(theirs.container, ours.container.address, MTU));

  // Killed, it leaves its device. The key is in the file.
  const traffic = await Traffic.start(ours.container, theirs.container.address, {
    perSecond: Math.ceil(200 / patience()),
  });
  const index = await indexOf(two);
  const before = await peersOn(two);
  const daemon = (await two.daemon('flanneld')) ?? assert.fail();
  daemon.kill('SIGKILL');
  await daemon.exited();
  await startFlanneld(two, theirs.flags, FLANNELD);
  await waitForRoute(two, ours.subnet);
  await until(async () => (await two.must(['ip', 'route', 'show', '10.0.0.0/16'])) === '', {
    what: 'the end of flannel’s one route',
    timeoutMs: 15_000,
  });
  assert.equal(await indexOf(two), index);
  assert.equal(await peersOn(two), before);
  assert.ok(await wholePacket(theirs.container, ours.container.address, MTU));
  const report = await traffic.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
});
