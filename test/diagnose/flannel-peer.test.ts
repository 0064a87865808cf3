import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { FullTrace } from '#src/diagnose/trace/run-trace.ts';
import { askApi } from '#src/observe/api-client.ts';
import type { CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { FLANNELD, noPeer, PEERS, PREFIX, WEFT } from '../support/flanneld.ts';
import { INSTALLATION } from '../support/installation.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { apiSocketOf, isDownBy, untilProbed } from '../support/probes.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * What the commands say of a host that runs flannel, which answers no question. Then it drops the tunnel's packets.
 *
 *     store .190 etcd     h1 .191 weft ── docker0 ── c     h2 .192 flannel ── docker0 ── c
 */
const needed = cannotRun('etcd', 'etcdctl', 'ping', 'nft');
const DROPPED = /UDP port 8472 is dropped between this host and 172\.16\.70\.192/;
/** The lab's containers are plain namespaces, into which no program of the host looks. */
const IN_CONTAINER = ['arrival-bridge', 'arrival-container', 'bridge', 'container'];

for (const api of [2, 3] as const) {
  test(`a host that runs flannel, etcd v${api}`, { skip: needed || noPeer(api) }, async (t) => {
    const peer = (api === 2 ? PEERS.v2 : PEERS.v3) ?? '';
    const network = await testNetwork(
      { signal: t.signal, after: (it) => t.after(it) },
      { api, programs: [FLANNELD, peer] },
    );
    const [one, two] = pairOf(network);
    await untilProbed(one, two, 'peer that is up', ({ state, tcp }) => state === 'up' && tcp === 'refused');
    await lookAtHealthy(t, one, two);
    const chain = 'add chain ip fault in { type filter hook prerouting priority -300; }';
    const drop = ['nft', `add table ip fault; ${chain}; add rule ip fault in udp dport 8472 drop`] as const;
    await two.host.must(drop);
    await untilProbed(one, two, 'peer that is down', isDownBy(DROPPED));
    await lookAtDropped(t, one, two);
    await two.host.must(['nft', 'delete table ip fault']);
    await untilProbed(one, two, 'peer that is up again', ({ state }) => state === 'up');
    await one.host.must(drop);
    await untilProbed(one, two, 'answers that are dropped', ({ state }) => state === 'down');
    await t.test('dropped here: trace stops at the hop that drops the answer, not at the wire', async () => {
      const { code, trace: traced } = await trace(one, one.container.address, two.container.address);
      const { way, host, id, ok } = traced.hops.at(-1) ?? assert.fail();
      assert.deepEqual([code, way, host, id, ok], [1, 'back', 'h1', 'input-filter', false]);
      assert.equal(wireOf(traced).ok, 'unknown');
    });
  });
}

const weft = (node: Node, ...words: string[]): Promise<CommandResult> =>
  node.host.run([WEFT, ...words], { timeoutMs: 30_000 });

async function trace(one: Node, ...words: string[]): Promise<{ code: number; trace: FullTrace }> {
  const { code, stdout, stderr } = await weft(one, 'trace', '--json', `--etcd-prefix=${PREFIX}`, ...words);
  assert.notEqual(stdout, '', stderr);
  return { code, trace: JSON.parse(stdout) as FullTrace };
}

const wireOf = ({ hops }: FullTrace) =>
  hops.find(({ id }) => id === 'wire') ?? assert.fail('no hop is the wire');

async function lookAtHealthy(t: TestContext, one: Node, two: Node): Promise<void> {
  const [a, b] = [one.container.address, two.container.address];
  const far = two.host.address;

  await t.test('peers and leases: it is up, has no responder and no identity', async () => {
    const { peers } = await askApi(apiSocketOf(one), '/v1/peers');
    const [{ node, probe, publicIp } = {}] = peers;
    assert.deepEqual([node, publicIp, probe?.state, probe?.responder], [undefined, far, 'up', false]);
    assert.match((await weft(one, 'peers')).stdout, /^1 peer, 1 up, 0 down, 0 quarantined$/m);
    const leases = (await weft(one, 'leases')).stdout;
    assert.match(leases, new RegExp(`^${two.subnet}.0/24 +${far} +vxlan .* used +-$`, 'm'));
    assert.equal((await weft(one, 'status')).code, 0);
  });

  await t.test('doctor has nothing to say', async () => {
    const { code, stdout } = await weft(one, 'doctor', ...one.flags);
    assert.equal(code, INSTALLATION.code, stdout);
    const { ids } = INSTALLATION;
    assert.match(stdout, new RegExp(`checks, ${ids.length} wrong, 0 could not look`));
    for (const id of ids) assert.match(stdout, new RegExp(`^✗ ${id}:`, 'm'));
  });

  await t.test('routes: packets to it go the wanted way, and flanneld is what says so', async () => {
    const { code, stdout } = await weft(one, 'routes', b);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^ {2}right /m);
    assert.doesNotMatch(stdout, /does not answer/);
  });

  for (const [from, to, way] of [
    [a, b, 'to'],
    [b, a, 'from'],
  ] as const) {
    await t.test(`trace ${way} it: what happens there is unknown, and why is said`, async () => {
      const { code, trace: traced } = await trace(one, from, to);
      assert.deepEqual([code, traced.outcome], [0, 'unknown'], JSON.stringify(traced, undefined, 1));
      for (const { id, host, ok, found } of traced.hops) {
        if (host === far && id !== 'wire') {
          assert.equal(ok, 'unknown');
          assert.match(
            found[0] ?? '',
            /^it can't be asked: flannel runs there, which shows nothing \(.*8474/,
          );
        } else if (!IN_CONTAINER.includes(id)) assert.equal(ok, true, `${host} ${id}: ${found}`);
      }
      const hosts = new Set(traced.hops.map(({ host }) => host));
      assert.deepEqual([...hosts].sort(), [far, 'h1']);
      assert.match(wireOf(traced).found[0] ?? '', /^the other end of the tunnel answered/);
    });
  }

  await t.test('trace --live: a packet goes there, and its answer comes back', async () => {
    const { code, trace: traced } = await trace(one, '--live', a, b);
    assert.deepEqual([code, traced.live?.lost], [0, undefined]);
    assert.match(wireOf(traced).found[0] ?? '', /^a marked packet went there, and its answer came back$/);
    const seen = (traced.live?.sights ?? []).flatMap(({ host, way, device, seen }) =>
      seen ? [`${way} ${host} ${device}`] : [],
    );
    assert.ok(seen.includes('there h1 eth0') && seen.includes('back h1 docker0'), seen.join());
    const back = await weft(one, 'trace', `--etcd-prefix=${PREFIX}`, '--live', b, a);
    assert.equal(back.code, 2);
    assert.match(
      back.stderr,
      new RegExp(
        `^weft trace: no packet can be sent from ${far}: flannel runs there.*"weft trace --live ${a} ${b}"`,
      ),
    );
  });

  await t.test('capture shows a ping and its reply, inside and outside', async () => {
    const words = ['--count=4', '--seconds=20', '--container', b];
    const capture = await one.host.start('capture', [WEFT, 'capture', ...words]);
    await capture.waitForLog(/^capturing on .*$/m);
    await one.container.must(['ping', '-n', '-c1', '-W5', b]);
    assert.equal(await capture.exited(), 0);
    const lines = (await capture.log()).split('\n').filter((line) => /ICMP echo (request|reply)/.test(line));
    const places = lines.map((line) => /(eth0|flannel\.1) +(in|out)/.exec(line)?.slice(1).join(' '));
    assert.deepEqual(places.sort(), ['eth0 in', 'eth0 out', 'flannel.1 in', 'flannel.1 out']);
  });

  await t.test('the page has the link', async () => {
    const ui = await one.host.start('ui', [WEFT, 'ui', '--listen=127.0.0.1:8475']);
    await ui.waitForLog(/127\.0\.0\.1:8475/);
    const get = `exec 3<>/dev/tcp/127.0.0.1/8475; printf 'GET /api/live HTTP/1.1\\r\\nHost: 127.0.0.1:8475\\r\\n\\r\\n' >&3; timeout 3 cat <&3`;
    const live = await until(
      async () => {
        const { stdout } = await one.host.run(['bash', '-c', get], { timeoutMs: 10_000 });
        return stdout.includes(two.subnet) ? stdout : undefined;
      },
      { what: 'the peer on the page' },
    );
    assert.match(live, new RegExp(far.replaceAll('.', '\\.')));
    assert.equal(await ui.stop(), 0);
  });
}

async function lookAtDropped(t: TestContext, one: Node, two: Node): Promise<void> {
  const words = [one.container.address, two.container.address];

  await t.test('dropped there: peers, status and doctor name the port', async () => {
    const peers = (await weft(one, 'peers')).stdout;
    assert.match(peers, /^1 peer, 0 up, 1 down/);
    assert.match(peers.replaceAll(/\s+/g, ' '), DROPPED);
    // Nobody is reached for a while before a host is not ready any more.
    await until(async () => (await weft(one, 'status')).code === 1, {
      what: 'host that is not ready',
      timeoutMs: 30_000,
    });
    const { code, stdout } = await weft(one, 'doctor', '--json', ...one.flags);
    assert.equal(code, 1);
    const { networks } = JSON.parse(stdout) as { networks: { findings: { id: string }[] }[] };
    assert.deepEqual(
      networks.flatMap(({ findings }) => findings.map(({ id }) => id)),
      ['tunnel-silent'],
    );
  });

  await t.test('dropped there: trace stops at the wire', async () => {
    const { code, trace: traced } = await trace(one, ...words);
    const { id, ok, found } = traced.hops.at(-1) ?? assert.fail();
    assert.deepEqual([code, traced.outcome, id, ok], [1, 'stopped', 'wire', false]);
    assert.match(found.join(), DROPPED);
  });

  await t.test('dropped there: a packet that is sent is lost on the wire or there', async () => {
    const { code, trace: traced } = await trace(one, '--live', ...words);
    const { hop, host, orThere } = traced.live?.lost ?? {};
    assert.deepEqual([code, hop, host, orThere?.host], [1, 'wire', 'h1', two.host.address]);
    assert.match(wireOf(traced).found[0] ?? '', /^a marked packet left h1 and no answer came/);
  });
}
