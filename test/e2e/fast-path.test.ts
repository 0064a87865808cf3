import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeContainer } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { callerSeenBy, serveCaller } from '#src/lab/traffic.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { assertWhole, callEcho, serveEcho, taken, takenByEcho } from '../support/echo-calls.ts';
import { FLANNELD, noPeer, PEERS, PREFIX, startFlanneld, WEFT } from '../support/flanneld.ts';
import { type Network, type Node, pairOf, testNetwork } from '../support/network.ts';
import { statusesOf } from '../support/node-status.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 * Two hosts whose containers' flows go past bridge, rules and tunnel device:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft', 'busybox', 'tc');

/** A hundred veths with a namespace each, in docker0 and gone again. */
const CHURN = `
for n in $(seq 100); do
  ip netns add churn
  ip link add churn0 type veth peer name eth0 netns churn
  ip link set churn0 master docker0 up
  ip link del churn0
  ip netns del churn
done`;
const ON = ['--fast-path=on'];
/** What the guide promises. */
const FRESH_MS = 1_000;
const LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';

let network: Network;
let one: Node;
let two: Node;
wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, flags: ON });
  [one, two] = pairOf(network);
  await greet(one, two);
  for (const node of [one, two]) {
    await untilFast(node);
    await serveEcho(node.container);
  }
});

async function statusOf({ host }: Pick<Node, 'host'>): Promise<FastPathStatus | undefined> {
  const [status] = await statusesOf(host);
  return status?.fastPath;
}

const packetsOf = (status: FastPathStatus | undefined, name: string): number => status?.packets?.[name] ?? 0;

const untilState = (node: Node, state: FastPathStatus['state'], reason = /^/): Promise<FastPathStatus> =>
  until(
    async () => {
      const status = await statusOf(node);
      return status?.state === state && reason.test(status.reasons.join()) ? status : undefined;
    },
    { what: `fast path of ${node.host.name} ${state}`, timeoutMs: 20_000, signal: node.host.signal },
  );

async function untilFast(node: Node, containers = 1): Promise<void> {
  await until(
    async () => {
      const status = await statusOf(node);
      return status?.state === 'on' && status.tcp && status.containers >= containers && status.peers > 0;
    },
    { what: `fast path of ${node.host.name}`, timeoutMs: 20_000, signal: node.host.signal },
  );
}

/** Each bridge knows its container. */
const greet = (from: Node, to: Node): Promise<string> =>
  from.container.must(['ping', '-c1', '-W5', to.container.address]);

/** How many packets went fast on both hosts, in and out. */
async function fastPackets(): Promise<number> {
  const all = await Promise.all([one, two].map(statusOf));
  return all.reduce(
    (sum, status) => sum + packetsOf(status, 'encapsulated') + packetsOf(status, 'decapsulated'),
    0,
  );
}

/** An established flow of UDP and TCP, back and forth: nothing is lost. */
async function assertFlows(from: Node, to: Node, ms = 2_000): Promise<void> {
  assertWhole(await (await callEcho(from.container, to.container.address, { ms })).report);
}

test('flows between containers of two hosts go fast, and nothing is lost', { skip }, async () => {
  const before = await fastPackets();
  const refused = async (node: Node) => {
    const status = await statusOf(node);
    return packetsOf(status, 'failed') + packetsOf(status, 'wrongSourceIn');
  };
  // One that hears of the other later has refused its first packets.
  const early = await Promise.all([one, two].map(refused));
  await assertFlows(one, two);
  await until(async () => (await fastPackets()) > before + 5_000, {
    what: 'packets that went fast',
  });
  assert.deepEqual(await Promise.all([one, two].map(refused)), early);
  for (const node of [one, two]) {
    assert.match(
      await node.host.must([WEFT, 'status', ...node.flags.filter((flag) => !ON.includes(flag))]),
      / {2}fast path {2}on, 1 container addresses, 1 peers, \d+% of \d+ packets went fast/,
    );
    assert.equal((await node.host.must(['cat', LIBERAL])).trim(), '1');
  }
});

test('whole packets pass, too long ones are answered, and fragments come together', { skip }, async () => {
  await one.container.must(['ping', '-c1', '-W5', '-M', 'do', '-s', '1422', two.container.address]);
  const { code, stdout, stderr } = await one.container.run([
    'ping',
    '-c1',
    '-W2',
    '-M',
    'do',
    '-s',
    '1472',
    two.container.address,
  ]);
  assert.notEqual(code, 0);
  assert.match(stdout + stderr, /mtu ?= ?1450|message too long/i);
  await one.container.must(['ping', '-c1', '-W5', '-s', '4000', two.container.address]);
});

test('a published port through the peer’s bridge and masquerading work as before', { skip }, async () => {
  const port = ['-p', 'tcp', '-d', `${two.subnet}.1`, '--dport', '8080'];
  const rule = ['PREROUTING', ...port, '-j', 'DNAT', '--to-destination', `${two.container.address}:7000`];
  await two.host.must(['iptables', '-t', 'nat', '-A', ...rule]);
  try {
    const { tcp } = await (await callEcho(one.container, two.container.address, { ms: 1_500 })).report;
    assert.ok(tcp.isKept);
    const answer = await one.container.must([
      'sh',
      '-c',
      `(echo hello; sleep 2) | busybox nc -w 4 ${two.subnet}.1 8080`,
    ]);
    assert.match(answer, /hello/);
  } finally {
    await two.host.must(['iptables', '-t', 'nat', '-D', ...rule]);
  }
  await serveCaller(two.container);
  assert.equal(await callerSeenBy(one.container, two.container.address), one.container.address);
});

test('a drop that is added in mid-stream holds within a second, in 20 of 20 tries', { skip }, async () => {
  await two.host.run(['iptables', '-N', 'DOCKER-USER']);
  await two.host.must(['iptables', '-I', 'FORWARD', '-j', 'DOCKER-USER']);
  const drop = ['DOCKER-USER', '-d', two.container.address, '-p', 'udp', '--dport', '7000', '-j', 'DROP'];
  const call = await callEcho(one.container, two.container.address, { ms: 600_000 });
  try {
    for (let round = 0; round < 20; round++) {
      const { container } = two;
      const before = { all: await taken(container), fast: packetsOf(await statusOf(two), 'decapsulated') };
      const isFast = async (): Promise<boolean> =>
        (await taken(container)) > before.all + 100 &&
        packetsOf(await statusOf(two), 'decapsulated') > before.fast + 100;
      await until(isFast, { what: `a fast flow in round ${round}`, timeoutMs: 20_000 });
      await two.host.must(['iptables', '-I', ...drop]);
      await systemClock.sleep(FRESH_MS);
      const at = await takenByEcho(container);
      await systemClock.sleep(FRESH_MS / 4);
      assert.equal(await takenByEcho(container), at, `round ${round}`);
      await two.host.must(['iptables', '-D', ...drop]);
    }
  } finally {
    call.stop();
    await two.host.must(['iptables', '-F', 'DOCKER-USER']);
  }
});

test('a rule that needs every packet refuses it, and so does a queue; both are said', { skip }, async () => {
  await two.host.must(['iptables', '-I', 'FORWARD', '-m', 'limit', '--limit', '5/sec', '-j', 'LOG']);
  await untilState(two, 'refused', /limits a rate: iptables, table filter, chain FORWARD/);
  const before = packetsOf(await statusOf(two), 'encapsulated');
  await assertFlows(one, two, 1_000);
  assert.equal(packetsOf(await statusOf(two), 'encapsulated'), before);
  await two.host.must(['iptables', '-D', 'FORWARD', '-m', 'limit', '--limit', '5/sec', '-j', 'LOG']);
  await untilState(two, 'on');
  await one.host.must(['tc', 'qdisc', 'add', 'dev', 'flannel.1', 'root', 'pfifo', 'limit', '100']);
  await untilState(one, 'refused', /packets wait in a queue \(pfifo\) on flannel\.1/);
  await one.host.must(['tc', 'qdisc', 'del', 'dev', 'flannel.1', 'root']);
  await untilState(one, 'on');
});

test('weft capture sees all packets while it runs, also when it is killed', { skip }, async () => {
  const flags = one.flags.filter((flag) => /prefix/.test(flag));
  const capture = await one.host.start('capture', [
    WEFT,
    'capture',
    '--device=flannel.1',
    '--write=/run/x.pcapng',
    ...flags,
  ]);
  await untilState(one, 'paused', /weft capture sees all packets/);
  capture.kill('SIGKILL');
  await untilState(one, 'on');
});

test('a container’s packets with another’s address don’t go past the rules', { skip }, async () => {
  const before = packetsOf(await statusOf(one), 'encapsulated');
  await one.container.must(['ip', 'address', 'add', `${one.subnet}.77/32`, 'dev', 'eth0']);
  const { stdout } = await one.container.run([
    'sh',
    '-c',
    `for n in 1 2 3; do echo x | busybox nc -u -w1 -s ${one.subnet}.77 ${two.container.address} 9; done`,
  ]);
  assert.equal(stdout, '');
  assert.equal(packetsOf(await statusOf(one), 'encapsulated'), before);
  await one.container.must(['ip', 'address', 'del', `${one.subnet}.77/32`, 'dev', 'eth0']);
});

test('a container’s device has its qdisc before its first packet, and no packet is lost when its programs come', {
  skip,
}, async () => {
  const names = ['late1', 'late2', 'late3'];
  for (const [index, name] of names.entries()) {
    const late = await makeContainer(two.host, name);
    const show = ['tc', 'qdisc', 'show', 'dev', `veth-${name}`];
    await until(async () => /clsact/.test(await two.host.must(show)), { what: `qdisc of veth-${name}` });
    await serveEcho(late);
    // From its first packet on: the programs come 300 ms later.
    const call = await callEcho(one.container, late.address, { ms: 2_000 });
    await untilFast(two, 2 + index);
    assertWhole(await call.report, name);
  }
  for (const name of names) await two.host.must(['ip', 'link', 'del', `veth-${name}`]);
  await until(async () => (await statusOf(two))?.containers === 1, { what: 'their end' });
});

test('a hundred containers that come and go are no burden, and other programs of tc go on', {
  skip,
}, async () => {
  await two.host.must(['tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact']).catch(() => {});
  const filter = ['dev', 'eth0', 'ingress', 'pref', '7'];
  await two.host.must(['tc', 'filter', 'add', ...filter, 'bpf', 'bytecode', '1,6 0 0 0,']);
  const before = packetsOf(await statusOf(two), 'decapsulated');
  const call = await callEcho(one.container, two.container.address, { ms: 6_000 });
  await two.host.must(['sh', '-c', CHURN], { timeoutMs: 180_000 });
  assertWhole(await call.report);
  const isAlone = async () => {
    const status = await statusOf(two);
    return status?.state === 'on' && status.containers === 1 ? status : undefined;
  };
  const status = await until(isAlone, { what: 'a fast path for the one container that stays' });
  assert.ok(packetsOf(status, 'decapsulated') > before + 1_000);
  assert.match(await two.host.must(['tc', 'filter', 'show', 'dev', 'eth0', 'ingress']), /pref 7 bpf/);
  await two.host.must(['tc', 'filter', 'del', ...filter]);
});

test('a daemon that is killed, and one that is stopped and started again, lose no packet', {
  skip,
}, async () => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const call = await callEcho(one.container, two.container.address, { ms: 8_000 });
    const daemon = await two.host.daemon('flanneld');
    daemon?.kill(signal);
    await daemon?.exited();
    await startFlanneld(two.host, two.flags);
    assertWhole(await call.report, signal);
    await untilFast(two);
  }
});

test('a peer that datagrams without a UDP checksum do not reach stays slow, and is named', {
  skip,
}, async () => {
  const restart = async (): Promise<void> => {
    await (await one.host.daemon('flanneld'))?.stop();
    await startFlanneld(one.host, one.flags);
  };
  const untilSlow = (count: number): Promise<FastPathStatus> =>
    until(
      async () => {
        const status = await statusOf(one);
        return status?.state === 'on' && status.slowPeers.length === count ? status : undefined;
      },
      { what: `${count} peers that stay slow`, timeoutMs: 20_000, signal: one.host.signal },
    );
  // As a network card would: after the fast path, and before the wire.
  await one.host.must([
    'nft',
    `add table netdev wire
     add chain netdev wire out { type filter hook egress device eth0 priority 0; }
     add rule netdev wire out udp dport 8472 udp checksum 0 drop`,
  ]);
  await restart();
  const { slowPeers } = await untilSlow(1);
  assert.match(slowPeers[0]?.reason ?? '', /without a UDP checksum/);
  await assertFlows(one, two);
  await one.host.must(['nft', 'delete table netdev wire']);
  await restart();
  await untilSlow(0);
  await untilFast(one);
});

test('off, and cleanup, leave nothing', { skip }, async () => {
  const pins = async (host: Host): Promise<string> =>
    (await host.run(['sh', '-c', 'ls -R /sys/fs/bpf/weft 2>/dev/null | grep -c @'])).stdout.trim();
  const filters = async (host: Host): Promise<string> =>
    host.must([
      'sh',
      '-c',
      'for d in $(ls /sys/class/net); do tc filter show dev $d ingress; tc filter show dev $d egress; done 2>/dev/null',
    ]);
  await (await two.host.daemon('flanneld'))?.stop();
  await startFlanneld(
    two.host,
    two.flags.filter((flag) => !ON.includes(flag)),
  );
  await until(async () => (await two.host.must(['cat', LIBERAL])).trim() === '0', {
    what: 'the setting put back',
    timeoutMs: 10_000,
  });
  await until(async () => !/weft/.test(await filters(two.host)), { what: 'the end of the programs' });
  assert.equal(await statusOf(two), undefined);
  await assertFlows(one, two, 1_000);
  await (await one.host.daemon('flanneld'))?.stop();
  const words = await one.host.must(
    [WEFT, 'cleanup', '--all', ...one.flags.filter((flag) => /prefix/.test(flag))],
    { timeoutMs: 60_000 },
  );
  assert.match(words, /nf_conntrack_tcp_be_liberal=0/);
  assert.doesNotMatch(await filters(one.host), /weft/);
  assert.equal((await one.host.must(['cat', LIBERAL])).trim(), '0');
  assert.equal(await pins(one.host), '0');
});

for (const api of [2, 3] as const) {
  const lacking = skip || noPeer(api);
  test(`a fast host and a flannel host on etcd v${api} reach each other`, { skip: lacking }, async (t) => {
    const mixed = await testNetwork(t, {
      ...{ api, programs: [FLANNELD, PEERS[`v${api}`] ?? ''] },
      config: '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan","FastPath":"on"}}',
    });
    const [ours, theirs] = pairOf(mixed);
    await greet(ours, theirs);
    await untilFast(ours);
    await serveEcho(theirs.container);
    await assertFlows(ours, theirs);
    assert.ok(packetsOf(await statusOf(ours), 'encapsulated') > 1_000);
    assert.match(PREFIX, /^\//);
  });
}
