import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import { daemonLog, FLANNELD, readLease, WEFT } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { TcpStream } from '../support/machine/tcp-stream.ts';
import { type Network, type Node, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Three hosts renew their WireGuard keys three times while packets flow; in the third renewal one host is down:
 *
 *     store .190 etcd     h1 .191 ── c ══ ping each 5 ms, TCP ══ c ── h2 .192     c ── h3 .193, down at last
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'busybox', 'wg', 'nstat') || (await lacks('wireguard'));

const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"wireguard"}}';
const FLAGS = ['--wireguard-rotate=24h', '--wireguard-rotate-wait=60s'];
/** Of which the emulated kernel needs some; {@link until} is patient there. */
const ROTATION_MS = 90_000;
const LOOK_MS = 2_000;

/** The public keys of a host's devices, by their names. */
async function keysOf({ host }: Node): Promise<Map<string, string>> {
  const lines = (await host.must(['wg', 'show', 'all', 'public-key'])).trim().split('\n');
  return new Map(lines.filter(Boolean).map((line) => line.split('\t') as [string, string]));
}

/** Waits until these hosts have one device each, of this name, and looks at what their leases say then. */
async function rotated(
  network: Network,
  nodes: readonly Node[],
  { device, generation }: { readonly device: string; readonly generation: number },
): Promise<void> {
  for (const node of nodes) {
    const [key] = await until(
      async () => {
        const keys = await keysOf(node);
        return keys.size === 1 && keys.has(device) ? [...keys.values()] : undefined;
      },
      // A look costs the emulated machine as much as a hundred packets.
      { what: `rotation to ${device} on ${node.host.name}`, timeoutMs: ROTATION_MS, intervalMs: LOOK_MS },
    );
    const lease = JSON.parse(await readLease(network.etcd, 3, node.subnet));
    assert.equal(lease.BackendData.PublicKey, key);
    assert.deepEqual(lease.Weft.Wireguard, { Generation: generation });
  }
}

/** Asks until the daemon has heard: it may be busy for seconds there. */
async function rotate({ host, flags }: Node): Promise<void> {
  await until(
    async () => {
      const { code, stderr } = await host.run([WEFT, 'rotate', ...flags], {
        timeoutMs: 10_000 * patience(),
      });
      if (code !== 0 && !/one is under way|does not answer/.test(stderr)) throw new Error(stderr);
      return code === 0 || /one is under way/.test(stderr);
    },
    { what: `a rotation that ${host.name} begins`, timeoutMs: ROTATION_MS, intervalMs: LOOK_MS },
  );
}

/**
 * What a container's kernel has sent and got no answer to. The programs lose some themselves where they get no processor for a
 * second; and segments that were sent again although they had arrived were not lost (RFC 2883).
 */
async function lostBy({ container }: Node): Promise<{ pings: number; segments: number }> {
  const names = ['IcmpOutEchos', 'IcmpInEchoReps', 'TcpRetransSegs', 'TcpExtTCPDSACKRecv'];
  const listing = await container.must(['nstat', '-asz', ...names], { timeoutMs: 10_000 * patience() });
  const [sent = 0, answered = 0, again = 0, needless = 0] = names.map((name) =>
    Number(new RegExp(`${name}\\s+(\\d+)`).exec(listing)?.[1]),
  );
  return { pings: sent - answered, segments: again - needless };
}

test('three rotations of WireGuard keys lose nothing, the last of them with a host down', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, {
    api: 3,
    programs: [FLANNELD, FLANNELD, FLANNELD],
    config: CONFIG,
    flags: FLAGS,
  });
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);
  for (const node of network.nodes) {
    const lease = JSON.parse(await readLease(network.etcd, 3, node.subnet));
    assert.deepEqual(lease.Weft.Wireguard, { Generation: 1 });
  }
  const first = await keysOf(one);
  assert.deepEqual([...first.keys()], ['flannel-wg']);

  const pings = [
    await Traffic.start(one.container, two.container.address),
    await Traffic.start(two.container, one.container.address, { perSecond: 20 }),
    await Traffic.start(three.container, one.container.address, { perSecond: 20 }),
  ];
  const stream = await TcpStream.start(one.container, two.container);
  const before = await lostBy(one);
  await rotate(one);
  await rotated(network, network.nodes, { device: 'flannel-wg.b', generation: 2 });
  assert.equal((await one.host.must(['cat', '/run/flannel/wgkey'])).trim().length, 44);
  assert.equal((await one.host.run(['test', '-e', '/run/flannel/wgkey.next'])).code, 1);
  // Two begin at once: it is one rotation.
  await Promise.all([rotate(two), rotate(three)]);
  await rotated(network, network.nodes, { device: 'flannel-wg', generation: 3 });
  assert.notEqual((await keysOf(one)).get('flannel-wg'), first.get('flannel-wg'));

  t.diagnostic(`h3 to h1: ${JSON.stringify(await pings.pop()?.stop())}`);
  assert.equal((await lostBy(three)).pings, 0);
  (await three.host.daemon('flanneld'))?.kill('SIGKILL');
  await three.host.must(['ip', 'link', 'set', 'eth0', 'down']);
  await rotate(one);
  await rotated(network, [one, two], { device: 'flannel-wg.b', generation: 4 });
  for (const ping of pings) t.diagnostic(JSON.stringify(await ping.stop()));
  const lost = await lostBy(one);
  const { received, whole } = await stream.stop();
  t.diagnostic(`TCP: ${received} numbers`);
  assert.ok(whole, 'the connection lived, and all came in order');
  assert.deepEqual({ ...lost, segments: lost.segments - before.segments }, { pings: 0, segments: 0 });
  assert.equal((await lostBy(two)).pings, 0);
  assert.match(await daemonLog(one.host), /The WireGuard key is rotated: \S+ is in force/);
});
