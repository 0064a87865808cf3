import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  assertNothingLost,
  assertPaths,
  CONFIG,
  change,
  configOf,
  putFlannel,
  ringOf,
  strict,
  waitForSourceCheck,
} from '../support/changing-hosts.ts';
import { startFlanneld } from '../support/flanneld.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * DirectRouting is turned on and off under traffic, with strict source checks. Both paths have one device:
 *
 *     store .190 etcd     h1 .191 flanneld ── c  ⇄  h2 .192 flanneld ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'nft');
const TUNNEL = ['device flannel.1', 'routes by flannel.1'];
const DIRECT = ['device flannel.1', 'routes by eth0'];
const DIRECT_CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan","DirectRouting":true}}';

async function networkOf(t: TestContext): Promise<Network> {
  const network = await testNetwork(t, { api: 3, config: CONFIG });
  const hosts = network.nodes.map(({ host }) => host);
  await strict(hosts);
  for (const host of hosts) await host.must(['sysctl', '-qw', 'net/ipv4/conf/flannel.1/rp_filter=1']);
  return network;
}

async function turn(network: Network, value: boolean): Promise<void> {
  const { code, stdout, stderr } = await change(network, `--option=DirectRouting=${value}`);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^done: every host uses the new path/m);
  await assertPaths(network.nodes, value ? DIRECT : TUNNEL);
  for (const { host } of network.nodes)
    for (const device of ['eth0', 'flannel.1']) await waitForSourceCheck(host, device);
}

test('DirectRouting, on and off: nothing is lost under strict source checks', { skip }, async (t) => {
  const network = await networkOf(t);
  const ring = await ringOf(network);
  await turn(network, true);
  await turn(network, false);
  await assertNothingLost(ring);
});

test('hosts between which no plain packet passes keep the tunnel, and are named', { skip }, async (t) => {
  const network = await networkOf(t);
  const [one, two] = pairOf(network);
  const ring = await ringOf(network);
  // As a cloud does that checks the sources of its machines' packets.
  await two.host.must(['nft', 'add table netdev cloud']);
  await two.host.must([
    'nft',
    'add chain netdev cloud in { type filter hook ingress device eth0 priority 0 ; }',
  ]);
  await two.host.must(['nft', 'add rule netdev cloud in ip saddr 10.0.0.0/16 drop']);
  const held = await change(network, '--option=DirectRouting=true', '--wait=8s');
  assert.equal(held.code, 3, held.stdout + held.stderr);
  assert.match(held.stdout, new RegExp(`moving: .*${two.subnet}\\.0-24: nothing passes by the new path`));
  await assertPaths([one], TUNNEL);

  // A daemon that is killed meanwhile goes on with both.
  (await one.host.daemon('flanneld'))?.kill('SIGKILL');
  await (await one.host.daemon('flanneld'))?.exited();
  await startFlanneld(one.host, one.flags);
  await assertPaths([one], TUNNEL);

  await two.host.must(['nft', 'delete table netdev cloud']);
  const { code, stdout, stderr } = await change(network);
  assert.equal(code, 0, stdout + stderr);
  await assertPaths(network.nodes, DIRECT);
  assert.equal(await configOf(network, 3), DIRECT_CONFIG);
  await assertNothingLost(ring);
});

test('an abort leads back to the tunnel', { skip }, async (t) => {
  const network = await networkOf(t);
  const [, two] = pairOf(network);
  const ring = await ringOf(network);
  await (await two.host.daemon('flanneld'))?.stop();
  const held = await change(network, '--option=DirectRouting=true', '--wait=3s');
  assert.equal(held.code, 3, held.stdout + held.stderr);
  await startFlanneld(two.host, two.flags);
  const aborted = await change(network, '--abort');
  assert.equal(aborted.code, 0, aborted.stdout + aborted.stderr);
  await assertPaths(network.nodes, TUNNEL);
  assert.equal(await configOf(network, 3), CONFIG);
  await assertNothingLost(ring);
});

test('beside a flannel it changes in place, and the flannel is named', { skip }, async (t) => {
  const network = await networkOf(t);
  await putFlannel(network);
  const { code, stdout, stderr } = await change(network, '--option=DirectRouting=true');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^changed DirectRouting: every host does it in place$/m);
  assert.match(stdout, /^hosts of flannel keep the old value .*: 172\.16\.70\.250 \(10\.0\.250\.0-24\)$/m);
  assert.equal(await configOf(network, 3), DIRECT_CONFIG);
  await assertPaths(network.nodes, DIRECT);
});
