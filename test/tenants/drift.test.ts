import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import { until } from '#src/sys/until.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  sharedTenants,
  type Tenants,
  twoOf,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { tenantListing } from '../support/tenant-listing.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * Each thing of ours on a host is removed or changed by hand, with real containers on it; it comes back, and so does traffic:
 *
 *     store .190     h1 .191 flanneld, dockerd, a     h2 .192 flanneld, dockerd, b
 */
const skip = cannotRunTenants();
const VNI = 80_100;
const BRIDGE = `br-${VNI}`;
const VXLAN = `vx-${VNI}`;
const BACK_MS = 60_000;
const tenants = sharedTenants(skip, {}, (all) => prepare(all));

interface Pair {
  readonly one: TenantHost;
  readonly two: TenantHost;
  readonly a: Container;
  readonly b: Container;
  readonly mac: { readonly a: string; readonly b: string };
  /** Of a. */
  readonly port: string;
  readonly farEnd: string;
}

const NAME = 'drift';
const SUBNETS = ['--ipv6', '--subnet', 'fd00:80::/64'];

async function prepare(all: Tenants): Promise<void> {
  const [one, two] = twoOf(all);
  await createTenant(all, NAME, { subnet: '10.80.0.0/24', vni: VNI, words: SUBNETS });
  await one.run('a80', NAME, ['--ip', '10.80.0.10']);
  await two.run('b80', NAME, ['--ip', '10.80.0.11']);
}

/** Two containers, one on each host, that reach each other. */
async function pairOf(): Promise<Pair> {
  const [one, two] = twoOf(tenants());
  const [a, b] = [await one.docker.container('a80'), await two.docker.container('b80')];
  const [at, bt] = [await one.attachment('a80', NAME), await two.attachment('b80', NAME)];
  assert.ok(a !== undefined && b !== undefined && at !== undefined && bt !== undefined);
  const id = at.EndpointID.slice(0, 13);
  await waitForAnswer(a, b.address);
  await waitForAnswer(a, bt.GlobalIPv6Address);
  const mac = { a: at.MacAddress, b: bt.MacAddress };
  return { one, two, a, b, mac, port: `p${id}`, farEnd: `w${id}` };
}

/** All that h1 has for its tenants, in lines. */
const stateOf = ({ one, a }: Pair): Promise<string[]> => tenantListing(one, [a]);

/** Does harm, and waits until all is as it was and containers reach each other. */
async function mends(t: TestContext, pair: Pair, what: string, harm: () => Promise<unknown>): Promise<void> {
  const before = await stateOf(pair);
  const began = performance.now();
  await harm();
  let now: string[] = [];
  try {
    await until(
      async () => {
        now = await stateOf(pair);
        return now.join('\n') === before.join('\n');
      },
      { what: `state after ${what}`, timeoutMs: BACK_MS, intervalMs: 20 },
    );
  } catch (error) {
    const [more, less] = [now.filter((it) => !before.includes(it)), before.filter((it) => !now.includes(it))];
    assert.deepEqual({ more, less }, { more: [], less: [] }, what);
    throw error;
  }
  const back = performance.now() - began;
  await waitForAnswer(pair.a, pair.b.address);
  await waitForAnswer(pair.b, pair.a.address);
  const answer = performance.now() - began;
  t.diagnostic(`${what}: state after ${back.toFixed(0)} ms, an answer after ${answer.toFixed(0)} ms`);
}

test('what was removed or changed in the tenants’ namespace comes back', { skip }, async (t) => {
  const pair = await pairOf();
  const { port, mac, one, two } = pair;
  for (const command of [
    `ip link set ${port} down`,
    `ip link set ${port} nomaster`,
    `ip link set ${port} mtu 1300`,
    `bridge link set dev ${port} learning on locked off flood on`,
    `ip link set ${VXLAN} down`,
    `ip link set ${VXLAN} nomaster`,
    `ip link del ${VXLAN}`,
    `ip link set ${BRIDGE} down`,
    `ip link set ${BRIDGE} address 02:00:00:00:00:01`,
    // Each address by its name: a flush goes on until there is none, and they come back meanwhile.
    `for a in $(ip -o address show dev ${BRIDGE} scope global | tr -s ' ' | cut -d' ' -f4); do ip address del $a dev ${BRIDGE}; done`,
    `ip link del ${BRIDGE}`,
    `bridge fdb del ${mac.a} dev ${port} master`,
    `bridge fdb del ${mac.b} dev ${VXLAN} master`,
    `bridge fdb replace ${mac.b} dev ${port} master static`,
    `bridge fdb del ${mac.b} dev ${VXLAN} dst ${two.address} self`,
    `bridge fdb replace ${mac.b} dev ${VXLAN} dst 192.0.2.99 self static`,
    `ip neigh del 10.80.0.11 dev ${BRIDGE}`,
    `ip neigh replace 10.80.0.11 lladdr 02:00:00:00:00:01 dev ${BRIDGE} nud permanent`,
    'nft delete table bridge weft',
    'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1',
  ])
    await mends(t, pair, command, () => one.inTenants(['sh', '-c', command]));
});

test('so does what the host has for their tunnels', { skip }, async (t) => {
  const pair = await pairOf();
  for (const command of ['delete table inet weft-tenants', 'flush chain inet weft-tenants arriving'])
    await mends(t, pair, `nft ${command}`, () => pair.one.host.must(['nft', ...command.split(' ')]));
});

test('a port that is removed comes back with the container’s device', { skip }, async (t) => {
  const pair = await pairOf();
  const { one, a, port, farEnd } = pair;
  await mends(t, pair, 'ip link del PORT', () => one.inTenants(['ip', 'link', 'del', port]));
  await mends(t, pair, 'ip link del eth0 in the container', () => a.must(['ip', 'link', 'del', 'eth0']));
  assert.equal((await one.host.run(['ip', 'link', 'show', farEnd])).code, 1);
  // Docker finds its device under the name that it knows.
  await one.must(['restart', 'a80']);
  await pairOf();
});

/** Until it succeeds: ip unmounts the name before it removes its file, and flanneld may be there in between. */
const untilDone = (one: Pair['one'], command: string): Promise<unknown> =>
  until(async () => (await one.host.run(['sh', '-c', command])).code === 0, { what: command });

test('the name of the namespace comes back, and no packet is lost', { skip }, async (t) => {
  const pair = await pairOf();
  const { one, a, b } = pair;
  const report = await duringTraffic(a, b.address, () =>
    mends(t, pair, 'ip netns del weft', () => untilDone(one, 'ip netns del weft')),
  );
  assert.equal(report.lost, 0);
});

test('another namespace in its place gets all of it', { skip }, async (t) => {
  const pair = await pairOf();
  const command = 'ip netns del weft && ip netns add weft';
  await mends(t, pair, command, () => untilDone(pair.one, command));
});

test('so does the one that a start makes', { skip }, async (t) => {
  const pair = await pairOf();
  const { one } = pair;
  await mends(t, pair, 'flanneld stopped, ip netns del weft, flanneld started', async () => {
    await one.stopFlanneld();
    await one.host.must(['ip', 'netns', 'del', 'weft']);
    await one.startFlanneld();
  });
});

for (const [what, harm] of [
  ['removed', 'rm /var/lib/weft/docker.json*'],
  ['cut off in the middle', 'cd /var/lib/weft && truncate -s 40 docker.json && rm -f docker.json.changes'],
] as const) {
  test(`a book that was ${what} costs no container its device`, { skip }, async (t) => {
    const pair = await pairOf();
    const { one, a, b, port } = pair;
    const number = () => one.inTenants(['cat', `/sys/class/net/${port}/ifindex`]);
    const before = await number();
    const report = await duringTraffic(a, b.address, async () => {
      await mends(t, pair, harm, async () => {
        await one.stopFlanneld();
        await one.host.must(['sh', '-c', harm]);
        await one.startFlanneld();
      });
      const book = async () => {
        const paths = ['/var/lib/weft/docker.json', '/var/lib/weft/docker.json.changes'];
        return (await Promise.all(paths.map((path) => one.host.read(path)))).join('');
      };
      await until(async () => (await book()).includes('"device":"eth0"'), {
        what: 'book',
        timeoutMs: 30_000,
      });
    });
    // The rules begin without it, until Docker has said which containers there are.
    t.diagnostic(`${report.lost} packets lost, of 200 a second`);
    assert.equal(await number(), before);
    await mends(t, pair, 'ip link del PORT', () => one.inTenants(['ip', 'link', 'del', port]));
  });
}

test('a port that was removed with the book comes back, and so does the container’s device', {
  skip,
}, async (t) => {
  const pair = await pairOf();
  const { one, port } = pair;
  await mends(t, pair, 'flanneld stopped, book and port removed, flanneld started', async () => {
    await one.stopFlanneld();
    await one.inTenants(['ip', 'link', 'del', port]);
    await one.host.must(['sh', '-c', 'rm /var/lib/weft/docker.json*']);
    await one.startFlanneld();
  });
  await mends(t, pair, 'ip link del PORT', () => one.inTenants(['ip', 'link', 'del', port]));
  // Docker finds its device under the name that it knows.
  await one.must(['restart', 'a80']);
  await pairOf();
});

test('what others have there is left alone', { skip }, async (t) => {
  const pair = await pairOf();
  const { one, a } = pair;
  await one.inTenants([
    'sh',
    '-c',
    [
      'ip link add br-foreign type bridge',
      'ip link add p-foreign type veth peer name w-foreign',
      'ip link set p-foreign master br-foreign',
      'ip link set w-foreign up',
      'bridge fdb replace 02:00:00:00:00:02 dev p-foreign master static',
      'ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:07 dev w-foreign nud permanent',
      'nft add table bridge foreign',
    ].join(' && '),
  ]);
  await one.host.batch(['link add w0000000000001 type veth peer name p0000000000001']);
  await a.must(['ip', 'address', 'add', '192.0.2.20/32', 'dev', 'eth0']);
  await mends(t, pair, 'a full comparison', async () => {
    await one.stopFlanneld();
    await one.startFlanneld();
    await one.inTenants(['nft', 'flush', 'ruleset']).catch(() => {});
    await one.inTenants(['nft', 'add', 'table', 'bridge', 'foreign']);
  });
  for (const device of ['br-foreign', 'p-foreign', 'w-foreign'])
    await one.inTenants(['ip', 'link', 'show', device]);
  assert.match(await one.inTenants(['bridge', 'fdb', 'show']), /02:00:00:00:00:02 dev p-foreign .*static/);
  assert.match(await one.inTenants(['ip', 'neigh', 'show', 'nud', 'permanent']), /192\.0\.2\.7/);
  assert.match(await one.inTenants(['nft', 'list', 'tables']), /table bridge foreign/);
  await one.host.must(['ip', 'link', 'show', 'p0000000000001']);
  assert.match(await a.must(['ip', 'address']), /192\.0\.2\.20\/32/);
  await one.host.batch(['link del w0000000000001']);
});

test('a container that is gone with its namespace gets no port until Docker says more', {
  skip,
}, async () => {
  const { one, two, a, port, farEnd } = await pairOf();
  const sandbox = (await one.must(['inspect', '--format', '{{.NetworkSettings.SandboxKey}}', 'a80'])).trim();
  await one.must(['update', '--restart', 'always', 'a80']);
  const pid = /^\/proc\/(\d+)\//.exec(a.namespacePath)?.[1] ?? '';
  await one.docker.kill();
  await one.host.must(['kill', '-9', pid]);
  await one.host.must(['sh', '-c', `umount ${sandbox} && rm ${sandbox}`]);
  const said = async () => (await one.flanneldLog()).match(/.*is gone: its port is left out.*/g)?.length ?? 0;
  await until(async () => (await said()) > 0, { what: 'line in the log', timeoutMs: 30_000 });
  await until(async () => !(await one.tenantDevices()).includes(port), {
    what: 'end of the port',
    timeoutMs: 30_000,
  });
  assert.equal((await one.host.run(['ip', 'link', 'show', farEnd])).code, 1);
  // A start finds the same, and makes nothing.
  await one.stopFlanneld();
  const before = await said();
  await one.startFlanneld();
  await until(async () => (await said()) > before, { what: 'second line in the log', timeoutMs: 30_000 });
  const ports = async () => (await one.tenantDevices()).filter((name) => /^p[0-9a-f]{13}$/.test(name));
  await until(async () => (await ports()).length === 0, { what: 'end of all ports', timeoutMs: 30_000 });
  await one.docker.startAgain();
  await until(async () => (await one.docker.container('a80')) !== undefined, {
    what: 'container',
    timeoutMs: 60_000,
  });
  const { a: again, b } = await pairOf();
  assert.equal(await answered(again, b.address), 3);
  await one.remove('a80');
  await two.remove('b80');
});
