import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { flagsFor, startFlanneld, WEFT, writeConfig } from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * `weft cleanup --all --script`, which a removed package keeps for its purge, does the same as `weft cleanup --all`:
 *
 *     etcd .190     h1 .191 cleanup     h2 .192 script     h3 .193 script, with rules in nftables
 */
const skip = cannotRun('etcd', 'iptables', 'nft');
const NETWORK = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
const SCRIPT = '/run/purge.sh';

/** All that a host has and flanneld may have made. */
async function stateOf(host: Host): Promise<string> {
  const looks = [
    'ip -br link; ip route; ip rule; ip netns',
    'iptables-save -t nat; iptables-save -t filter; iptables-save -t raw; iptables-save -t mangle',
    'nft list ruleset',
    'ls /run/flannel /var/lib/weft /run/docker/plugins 2>&1 || true',
  ];
  // Counters, and the times that iptables-save writes.
  const text = await host.must(['sh', '-c', looks.join(';')]);
  return text
    .replace(/^#.*$/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/counter packets \d+ bytes \d+/g, '');
}

/** The same as soon as it stays as it is: a start goes on after its line in the log. */
async function stateAtRest(host: Host): Promise<string> {
  let last: string | undefined;
  return until(
    async () => {
      const before = last;
      last = await stateOf(host);
      return last === before && last;
    },
    { what: `rest of ${host.name}`, timeoutMs: 60_000, intervalMs: 500, signal: host.signal },
  );
}

test('the script removes what cleanup removes, and later does no harm', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 3 });
  const etcd = await Etcd.start(lab);
  await writeConfig(etcd, 3, NETWORK);
  for (const host of lab.hosts) {
    // A rule of the host's own, which has to stay.
    await host.must(['iptables', '-A', 'FORWARD', '-s', '192.0.2.7', '-j', 'DROP']);
    await host.must([WEFT, 'namespace']);
  }
  const [one, two, three] = lab.hosts;
  assert.ok(one && two && three);
  for (const host of [one, two]) await (await startFlanneld(host, flagsFor(host, etcd))).daemon.stop();
  const writeScript = async (host: Host): Promise<void> =>
    host.write(SCRIPT, await host.must([WEFT, 'cleanup', '--all', '--script']));
  await writeScript(two);
  assert.match(await stateOf(two), /flannel\.1/, 'the script only says what is to be done');

  await t.test('it leaves a running flanneld alone', async () => {
    const { daemon } = await startFlanneld(two, flagsFor(two, etcd));
    const running = await stateAtRest(two);
    const { code, stderr } = await two.run(['sh', SCRIPT]);
    assert.equal(code, 1);
    assert.match(stderr, /^flanneld runs on this host/);
    assert.equal(await stateOf(two), running);
    await daemon.stop();
  });

  await writeConfig(etcd, 3, NETWORK.replace('SubnetLen', 'EnableNFTables":true,"SubnetLen'));
  await (await startFlanneld(three, flagsFor(three, etcd))).daemon.stop();
  await writeScript(three);
  const words = await one.must([WEFT, 'cleanup', '--all']);
  assert.match(words, /^ip link del flannel\.1$/m);
  assert.match(words, /^iptables nat FLANNEL-POSTRTG: not wanted$/m);
  const left = await stateOf(one);
  for (const host of [two, three]) {
    const said = await host.must(['sh', SCRIPT]);
    assert.match(said, /^ip link del flannel\.1$/m);
    assert.match(said, /^rm \/run\/flannel\/subnet\.env$/m);
    const now = await stateOf(host);
    assert.doesNotMatch(now, /flannel\.1|FLANNEL-|table ip flannel/);
    assert.equal(/^weft$/m.test(now), false, 'the namespace');
    assert.match(now, /192\.0\.2\.7/);
    if (host === two) assert.deepEqual(withoutHost(now, host), withoutHost(left, one));
    assert.equal(await host.must(['sh', SCRIPT]), '', 'all of it is gone already');
  }
});

/** Without what differs between two hosts in any case. */
const withoutHost = (state: string, host: Host): string[] =>
  state
    .replaceAll(host.address, 'HOST')
    .split('\n')
    .filter((line) => !/^eth0/.test(line));
