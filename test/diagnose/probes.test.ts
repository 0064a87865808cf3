import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { sharedNetwork } from '../faults/suite.ts';
import { FLANNELD, flagsFor, noPeer, PEERS, startFlanneld, waitForRoute } from '../support/flanneld.ts';
import { type Node, pairOf, startNode, testNetwork } from '../support/network.ts';
import { apiSocketOf, isDownBy, probeOf, untilAllUp, untilProbed } from '../support/probes.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Three hosts on one bridge measure each other, and faults are made at the third:
 *
 *     store .190 etcd     h1 .191 flanneld ── c     h2 .192 flanneld ── c     h3 .193 flanneld ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'nft', 'busybox');
const theNetwork = sharedNetwork(skip, { api: 3, programs: [FLANNELD, FLANNELD, FLANNELD] });

function nodes(): [Node, Node, Node] {
  const [one, two, three] = theNetwork().nodes;
  assert.ok(one && two && three);
  return [one, two, three];
}

const isUp = ({ state, tcp, tunnel }: PeerProbe): boolean =>
  state === 'up' && tcp === 'answered' && tunnel.fullSize === 'passes';

/** Drops what comes in to a host and matches, while something is looked at. */
async function whileDropping(
  host: Host,
  matches: readonly string[],
  look: () => Promise<void>,
): Promise<void> {
  const rules = matches.map((match) => `add rule ip fault in ${match} drop`).join('; ');
  const chain = 'add chain ip fault in { type filter hook prerouting priority -300; }';
  await host.must(['nft', `add table ip fault; ${chain}; ${rules}`]);
  try {
    await look();
  } finally {
    await host.must(['nft', 'delete table ip fault']);
  }
}

test('hosts that reach each other are up, inside and outside of the tunnel', { skip }, async () => {
  const [one, two, three] = nodes();
  for (const [from, to] of [
    [one, two],
    [two, three],
    [three, one],
  ] as const) {
    const probe = await untilProbed(from, to, 'peer that is up', isUp);
    assert.deepEqual([probe.findings, probe.responder, probe.workingMtu], [[], true, 1450]);
    assert.equal(probe.underlay.fullSize, 'passes');
    assert.ok((probe.tunnel.roundTripMs ?? 1_000) < 1_000);
  }
});

test('P5: where the underlay drops UDP 8472, that is what is said, and that no peer answers', {
  skip,
}, async () => {
  const [one, two, three] = nodes();
  await whileDropping(three.host, ['udp dport 8472'], async () => {
    const why = /nothing passes inside .* underlay answers: UDP port 8472 is dropped .*172\.16\.70\.193/;
    await untilProbed(one, three, 'peer that is down', isDownBy(why));
    assert.equal((await probeOf(one, two))?.state, 'up');
    // Its own packets leave, and no answer comes in.
    await until(
      async () => {
        const { ready, troubles } = await askApi(apiSocketOf(three), '/v1/status');
        return !ready && /none of 2 peers answers inside the tunnel/.test(troubles.join());
      },
      { what: 'trouble of the host that reaches nobody', timeoutMs: 30_000 },
    );
    assert.equal((await askApi(apiSocketOf(one), '/v1/status')).ready, true);
  });
  await untilProbed(one, three, 'peer that is up again', isUp);
  await untilAllUp(three, { peers: 2 });
});

test('P15: where packets above 1400 bytes vanish, the MTU that works is named', { skip }, async () => {
  const [one, , three] = nodes();
  await whileDropping(three.host, ['iifname eth0 ip length > 1400'], async () => {
    for (const [from, to] of [
      [one, three],
      [three, one],
    ] as const) {
      const probe = await untilProbed(from, to, 'working MTU', ({ workingMtu }) => workingMtu === 1350);
      assert.deepEqual([probe.state, probe.tunnel.fullSize], ['degraded', 'lost']);
      assert.deepEqual(probe.findings, [
        'packets of 1450 bytes are lost inside the tunnel, 1350 pass: set "MTU": 1400 in the Backend of the network config, or raise the MTU between the hosts',
      ]);
    }
    await untilProbed(one, three, 'the same outside', ({ underlay }) => underlay.fullSize === 'lost');
  });
  await untilProbed(one, three, 'peer that is up again', isUp);
});

test('P1: UDP without a checksum shows why TCP vanishes while pings pass', { skip }, async () => {
  const [one, , three] = nodes();
  const bad = ['iifname flannel.1 tcp dport 8474', 'iifname flannel.1 udp dport 8474 udp checksum != 0'];
  await whileDropping(three.host, bad, async () => {
    const why =
      /^TCP and UDP with a checksum get no answer .*try "ethtool -K flannel\.1 tx-checksum-ip-generic off"/;
    const { state, tcp } = await untilProbed(one, three, 'finding', ({ findings }) =>
      why.test(findings.join()),
    );
    assert.deepEqual([state, tcp], ['degraded', 'silent']);
  });
  await untilProbed(one, three, 'peer that is up again', isUp);
});

test('a container gets nothing of a responder', { skip }, async () => {
  const [one, two] = nodes();
  for (const target of [one, two]) {
    const script = `printf 'GET /v1/hello HTTP/1.1\\r\\n\\r\\n' | busybox nc -w 2 ${target.subnet}.0 8474`;
    const { stdout } = await one.container.run(['sh', '-c', script]);
    assert.equal(stdout, '');
  }
  const hello = `printf 'GET /v1/hello HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | busybox nc -w 2 ${two.subnet}.0 8474`;
  const said = await until(
    async () => {
      const { stdout } = await one.host.run(['sh', '-c', hello]);
      return stdout.includes('"subnet"') && stdout;
    },
    { what: 'answer of a responder' },
  );
  assert.match(said, new RegExp(`"subnet":"${two.subnet}.0/24"`));
  assert.match(said, /"backend":"vxlan","shared":\{"VNI":1,"Port":8472,"GBP":false\}/);
});

test('a device that is removed and made again has its responder', { skip }, async () => {
  const [one, , three] = nodes();
  await three.host.must(['ip', 'link', 'delete', 'flannel.1']);
  await until(async () => (await three.host.run(['ip', 'link', 'show', 'flannel.1'])).code === 0, {
    what: 'the device again',
    timeoutMs: 30_000,
  });
  const again = new Date().toISOString();
  const hello = `printf 'GET /v1/hello HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | busybox nc -w 1 ${three.subnet}.0 8474`;
  await until(async () => (await one.host.run(['sh', '-c', hello])).stdout.includes('"subnet"'), {
    what: 'answer of the responder',
    timeoutMs: 30_000,
  });
  // Its own socket for ICMP had the address of the device that went.
  await untilProbed(three, one, 'answer after it', ({ at, state }) => at > again && state === 'up');
});

test('a host that is cut off is down', { skip }, async () => {
  const [one, , three] = nodes();
  const { lab } = theNetwork();
  await lab.onWire(['link set h3 down']);
  const why = /^neither the tunnel nor the underlay answers: 172\.16\.70\.193 is down or cut off/;
  await untilProbed(one, three, 'peer that is down', isDownBy(why));
  await lab.onWire(['link set h3 up']);
  await untilProbed(one, three, 'peer that is up again', isUp);
});

test('one flag switches probes off, and others measure a host without a responder', { skip }, async () => {
  const [one, two] = nodes();
  await (await two.host.daemon('flanneld'))?.stop();
  await two.host.must([
    'nft',
    'add table ip count; add chain ip count out { type filter hook output priority 0; }; add rule ip count out icmp type echo-request counter; add rule ip count out tcp dport 8474 tcp flags syn / syn,ack counter',
  ]);
  await startFlanneld(two.host, [...two.flags, '--probes=false', '--responder-port=0']);
  const peers = await until(
    async () => {
      const answer = await askApi(apiSocketOf(two), '/v1/peers');
      return answer.peers.length === 2 && answer.peers;
    },
    { what: 'peers of a host without probes' },
  );
  // While nothing ran there, a connection was refused as well.
  const started = new Date().toISOString();
  const probe = await untilProbed(
    one,
    two,
    'refused connection',
    ({ at, tcp, state }) => at > started && tcp === 'refused' && state === 'up',
  );
  assert.equal(probe.responder, false);
  assert.deepEqual(
    peers.map(({ probe }) => probe),
    [undefined, undefined],
  );
  const counted = await two.host.must(['nft', 'list', 'table', 'ip', 'count']);
  assert.deepEqual(counted.match(/counter packets \d+/g), ['counter packets 0', 'counter packets 0']);
});

const peerSkip = skip || noPeer(3);
test('flannel’s host is measured by what it answers', { skip: peerSkip }, async () => {
  const [one] = nodes();
  const { lab, etcd } = theNetwork();
  const host = await lab.addHost('h4', 4);
  const four = await startNode(host, flagsFor(host, etcd), PEERS.v3);
  await waitForRoute(one.host, four.subnet);
  const probe = await untilProbed(one, four, 'refused connection', ({ tcp }) => tcp === 'refused');
  assert.deepEqual([probe.state, probe.responder, probe.findings], ['up', false, []]);
});

/*
 * Without a tunnel, and with a way beside it:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 10.0.A.1     h2 .192 flanneld ── docker0 10.0.B.1
 */
for (const [what, backend, mtu] of [
  ['host-gw', '{"Type":"host-gw"}', 1500],
  ['DirectRouting', '{"Type":"vxlan","DirectRouting":true}', 1450],
] as const) {
  test(`peers of ${what} are measured by their own addresses`, { skip }, async (t) => {
    const config = `{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":${backend}}`;
    const network = await testNetwork(t, { api: 3, store: 'embedded', config });
    const [one, two] = pairOf(network);
    const probe = await untilProbed(one, two, 'peer that is up', isUp);
    assert.deepEqual([probe.findings, probe.responder, probe.workingMtu], [[], true, mtu]);
    await network.lab.onWire(['link set h2 down']);
    await untilProbed(one, two, 'peer that is down', ({ state }) => state === 'down');
  });
}
