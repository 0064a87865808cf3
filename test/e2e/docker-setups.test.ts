import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dockerEngines } from '../support/docker-engines.ts';
import { assertReach, dockerNetwork } from '../support/docker-network.ts';
import { CONFIG } from '../support/flanneld.ts';
import { arrivals, forgedAddress, strangerOn, tryStranger } from '../support/stranger.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Docker 29 set up in other ways than in docker-engines.test.ts: with what mk-docker-opts writes where iptables needs nothing
 * of it, with DirectRouting, where the overlay's packets come from the underlay bare, and without rules of its own.
 * The topology is in ../support/stranger.ts.
 */
const cannot = cannotRun('dockerd', 'docker', 'busybox', 'tcpdump', 'ping', 'nft', 'iptables');
const { iptables, nftables } = dockerEngines();
const WITHOUT_DOORS = ['--docker-version=20.10'];
const DIRECT = CONFIG.replace('"vxlan"', '"vxlan","DirectRouting":true');

test(`a stranger and what mk-docker-opts writes: ${iptables.called}`, {
  skip: cannot || iptables.skip,
  timeout: 240_000,
}, async (t) => {
  const network = await dockerNetwork(t, { engine: iptables });
  await t.test('the overlay works', () => assertReach(network));
  await tryStranger(t, network, { opened: true });
});

test(`iptables=false: ${iptables.called}`, {
  skip: cannot || iptables.skip,
  timeout: 240_000,
}, async (t) => {
  const network = await dockerNetwork(t, { engine: { ...iptables, config: { iptables: false } } });
  const [one] = network.nodes;
  assert.doesNotMatch(await one.host.must(['iptables-save']), /DOCKER-FORWARD/);
  await assertReach(network);
});

for (const { name, engine, dockerOptions } of [
  { name: iptables.called, engine: iptables, dockerOptions: WITHOUT_DOORS },
  { name: nftables.called, engine: nftables, dockerOptions: [] },
]) {
  test(`with DirectRouting the underlay is trusted for the overlay's addresses, and no others: ${name}`, {
    skip: cannot || engine.skip,
    timeout: 240_000,
  }, async (t) => {
    const network = await dockerNetwork(t, { engine, dockerOptions, config: DIRECT });
    const [one, two] = network.nodes;
    assert.match(
      await one.host.must(['ip', 'route', 'show', `${two.subnet}.0/24`]),
      / via 172\.16\.70\.192 dev eth0/,
    );
    await assertReach(network);
    const stranger = await strangerOn(network);
    assert.deepEqual(await arrivals(network, one.web, stranger, stranger.address), []);
    const forged = forgedAddress(network);
    assert.deepEqual(await arrivals(network, one.web, stranger, forged), [`${forged} icmp`, `${forged} tcp`]);
  });
}
