import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { bridgeOptionsOf, type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { Store } from '#src/lab/store.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import { until } from '#src/sys/until.ts';
import { assertWhole, callEcho, serveEcho } from '../support/echo-calls.ts';
import { FLANNELD, startStore, WEFT } from '../support/flanneld.ts';
import { statusesOf } from '../support/node-status.ts';
import { cannotRun, testLab, wholeFile } from '../support/test-lab.ts';

/*
 * Three networks in one flanneld on each of two hosts. Two of them are fast; h2 keeps tcx links in a bpffs, h1 has none:
 *
 *     h1, h2: flanneld --networks=blue,red,green
 *       ├─ flannel.1 ── blue   10.1.0.0/16 ── br-blue ── container     "FastPath": "on"
 *       ├─ flannel.2 ── red    10.2.0.0/16 ── br-red ── container      "FastPath": "on"
 *       └─ flannel.3 ── green  10.3.0.0/16 ── br-green ── container
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft', 'tc');
const PREFIX = '/nets';
const FOLDER = '/run/flannel/nets';
const LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';
const NETWORKS = ['blue', 'red', 'green'] as const;
type Name = (typeof NETWORKS)[number];
const ALL = `--networks=${NETWORKS.join(',')}`;
const vniOf = (name: Name): number => NETWORKS.indexOf(name) + 1;
const configOf = (name: Name, more = name === 'green' ? '' : ',"FastPath":"on"', type = 'vxlan'): string =>
  `{"Network":"10.${vniOf(name)}.0.0/16","Backend":{"Type":"${type}","VNI":${vniOf(name)}${more}}}`;

let lab: Lab;
let etcd: Store;
let one: Host;
let two: Host;
const containers = new Map<string, Container>();
const containerOf = (host: Host, name: Name): Container =>
  containers.get(`${host.name} ${name}`) ?? assert.fail(`no container of ${name} on ${host.name}`);

const writeConfig = (name: Name, text: string): Promise<string> =>
  etcd.must(3, ['put', `${PREFIX}/${name}/config`], text);

async function start(host: Host, networks: string): Promise<void> {
  await host.start('flanneld', [
    FLANNELD,
    `--etcd-endpoints=${etcd.endpoints.join(',')}`,
    ...[`--etcd-prefix=${PREFIX}`, `--iface=${host.address}`, `--subnet-file=${FOLDER}`, networks],
  ]);
}

async function restart(host: Host, networks: string, between = async (): Promise<void> => {}): Promise<void> {
  await (await host.daemon('flanneld'))?.stop();
  await between();
  await start(host, networks);
}

wholeFile(skip, async (owner) => {
  lab = await testLab(owner, { hosts: 2 });
  etcd = await startStore(lab, 'etcd');
  for (const name of NETWORKS) await writeConfig(name, configOf(name));
  [one, two] = lab.hosts as [Host, Host];
  await two.must(['mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf']);
  for (const host of lab.hosts) {
    await start(host, ALL);
    for (const name of NETWORKS) {
      const env = await until(() => host.read(`${FOLDER}/${name}.env`), {
        what: `subnet of ${name} on ${host.name}`,
        timeoutMs: 30_000,
      });
      await makeBridge(host, bridgeOptionsOf(env), `br-${name}`);
      containers.set(`${host.name} ${name}`, await makeContainer(host, name, `br-${name}`));
    }
  }
  for (const name of NETWORKS) {
    await serveEcho(containerOf(two, name));
    await until(() => reaches(name), { what: `network ${name}`, timeoutMs: 20_000 });
  }
});

const reaches = async (name: Name): Promise<boolean> =>
  (await containerOf(one, name).run(['ping', '-c1', '-W1', containerOf(two, name).address])).code === 0;

async function statusOf(host: Host, name: Name): Promise<FastPathStatus | undefined> {
  return (await statusesOf(host)).find((status) => status.name === name)?.fastPath;
}

const untilFast = (host: Host, name: Name): Promise<FastPathStatus> =>
  until(
    async () => {
      const status = await statusOf(host, name);
      return status?.state === 'on' && status.tcp && status.containers > 0 && status.peers > 0
        ? status
        : undefined;
    },
    { what: `fast path of ${name} on ${host.name}`, timeoutMs: 30_000, signal: host.signal },
  );

/** How many packets went fast; `undefined` while the network does not say it. */
async function packetsOf(host: Host, name: Name): Promise<number | undefined> {
  const packets = (await statusOf(host, name))?.packets;
  return packets && (packets.encapsulated ?? 0) + (packets.decapsulated ?? 0);
}

/** Of the fast networks on h1, once no packet comes any more: the last ones of a call come after its report. */
async function countsAtRest(): Promise<readonly number[]> {
  let last: readonly (number | undefined)[] = [];
  return until(
    async () => {
      const before = last;
      last = await Promise.all((['blue', 'red'] as const).map((name) => packetsOf(one, name)));
      const known = last.filter((count) => count !== undefined);
      return known.length === last.length && isDeepStrictEqual(last, before) ? known : undefined;
    },
    { what: 'counts at rest', intervalMs: 200 },
  );
}

/** What is in the kernel and in the bpffs of a network's fast path. */
async function tracesOf(host: Host, name: Name): Promise<string[]> {
  const text = await host.must([
    'sh',
    '-c',
    'for d in $(ls /sys/class/net); do tc filter show dev $d ingress; tc filter show dev $d egress; done 2>/dev/null; find /sys/fs/bpf/weft 2>/dev/null; true',
  ]);
  return text.split('\n').filter((line) => new RegExp(`/flannel[.:]${vniOf(name)}(/|$)`).test(line));
}

const untilGone = (host: Host, name: Name): Promise<true> =>
  until(async () => (await tracesOf(host, name)).length === 0, {
    what: `end of the fast path of ${name} on ${host.name}`,
    // A network whose config is gone goes half a minute later.
    timeoutMs: 60_000,
  });

/** Runs something under a flow of a network, of which nothing may be lost. */
async function during(name: Name, act: () => Promise<void>, ms = 8_000): Promise<void> {
  const call = await callEcho(containerOf(one, name), containerOf(two, name).address, { ms });
  await act();
  assertWhole(await call.report);
}

test('two networks go fast and the third does not, each by its own programs', { skip }, async () => {
  for (const host of lab.hosts) for (const name of ['blue', 'red'] as const) await untilFast(host, name);
  for (const name of NETWORKS) {
    const before = await countsAtRest();
    await during(name, async () => {}, 1_500);
    const after = await countsAtRest();
    const grown = after.map((count, index) => count - (before[index] ?? 0));
    const [blue = 0, red = 0] = grown;
    if (name === 'green') assert.deepEqual(grown, [0, 0], name);
    else
      assert.ok(name === 'blue' ? blue > 1_000 && red === 0 : red > 1_000 && blue === 0, `${name}: ${grown}`);
  }
  for (const host of lab.hosts) {
    assert.equal(await statusOf(host, 'green'), undefined);
    assert.deepEqual(await tracesOf(host, 'green'), []);
  }
  assert.ok((await tracesOf(two, 'blue')).some((line) => line.startsWith('/sys/fs/bpf/weft/')));
  assert.ok((await tracesOf(one, 'blue')).every((line) => !line.startsWith('/sys')));
});

test('what one network sends to another goes no fast way', { skip }, async () => {
  const before = await countsAtRest();
  const from = containerOf(one, 'blue');
  const to = containerOf(two, 'red').address;
  for (let n = 0; n < 20; n++)
    await from.run(['sh', '-c', `echo ${n} | busybox nc -u -w1 -p 5555 ${to} 7000`]);
  assert.deepEqual(await countsAtRest(), before);
});

test('turned on while a container runs it costs no packet where there is tcx', { skip }, async () => {
  // h1 has no bpffs, and so only clsact: what it has in the kernel stays as it is.
  await (await one.daemon('flanneld'))?.stop();
  await during('green', async () => {
    await writeConfig('green', configOf('green', ',"FastPath":"on"'));
    await untilFast(two, 'green');
  });
  const pins = (await tracesOf(two, 'green')).filter((line) => line.startsWith('/sys/fs/bpf/weft/'));
  for (const pin of ['from-container@veth-green', 'note-in@veth-green'])
    assert.ok(
      pins.some((line) => line.endsWith(`/${pin}`)),
      pins.join('\n'),
    );
  assert.doesNotMatch(await two.must(['tc', 'qdisc', 'show', 'dev', 'veth-green']), /clsact/);
  // The flow may have ended before the programs came.
  await during('green', async () => {}, 1_500);
  await until(async () => ((await packetsOf(two, 'green')) ?? 0) > 0, { what: 'fast packets' });
  await writeConfig('green', configOf('green'));
  await untilGone(two, 'green');
  await start(one, ALL);
  for (const name of ['blue', 'red'] as const) await untilFast(one, name);
});

test('a config that says off takes one network’s programs, and the other’s flow does not notice', {
  skip,
}, async () => {
  await during('red', async () => {
    await writeConfig('blue', configOf('blue', ',"FastPath":"off"'));
    for (const host of lab.hosts) await untilGone(host, 'blue');
    for (const host of lab.hosts) assert.notDeepEqual(await tracesOf(host, 'red'), []);
    assert.equal((await one.must(['cat', LIBERAL])).trim(), '1');
  });
  await writeConfig('blue', configOf('blue'));
  for (const host of lab.hosts) await untilFast(host, 'blue');
});

test('a veth that gets another name stays fast', { skip }, async () => {
  await one.must(['sh', '-c', 'ip link set veth-blue down; ip link set veth-blue name veth-azure up']);
  await until(() => reaches('blue'), { what: 'the container under its new name', timeoutMs: 20_000 });
  await untilFast(one, 'blue');
  const [before = 0] = await countsAtRest();
  await during('blue', async () => {}, 2_000);
  const [after = 0] = await countsAtRest();
  assert.ok(after > before + 1_000, `${before} fast packets, and then ${after}`);
});

test('a network that is not among the flags of the next start has lost its programs', { skip }, async () => {
  for (const host of lab.hosts) {
    assert.notDeepEqual(await tracesOf(host, 'blue'), []);
    await during('red', async () => {
      await restart(host, '--networks=red,green');
      await untilFast(host, 'red');
      await untilGone(host, 'blue');
    });
    assert.equal((await host.must(['cat', LIBERAL])).trim(), '1');
  }
  // What a stop leaves is there: packets go on, slow.
  await until(() => reaches('blue'), { what: 'network blue without a daemon' });
});

test('a network that comes back with another backend has lost them, too', { skip }, async () => {
  await (await two.daemon('flanneld'))?.stop();
  await restart(one, '--networks=red,green', () =>
    writeConfig('red', configOf('red', '', 'host-gw')).then(() => {}),
  );
  await start(two, '--networks=red,green');
  for (const host of lab.hosts) {
    await untilGone(host, 'red');
    await until(async () => (await host.must(['cat', LIBERAL])).trim() === '0', {
      what: 'the setting put back',
    });
    await until(async () => (await host.read('/var/lib/weft/fast-path.json')) === undefined, {
      what: 'end of the note',
    });
  }
  await until(() => reaches('red'), { what: 'network red', timeoutMs: 20_000 });
});

test('a network that is removed while flanneld runs leaves nothing', { skip }, async () => {
  for (const host of lab.hosts) {
    await restart(host, '--watch-networks');
    await untilFast(host, 'blue');
  }
  const { code, stderr } = await lab.store.run([
    ...[
      WEFT,
      'network',
      'rm',
      'blue',
      `--etcd-endpoints=${etcd.endpoints.join(',')}`,
      `--etcd-prefix=${PREFIX}`,
    ],
  ]);
  assert.equal(code, 0, stderr);
  for (const host of lab.hosts) {
    await untilGone(host, 'blue');
    await until(async () => (await host.must(['cat', LIBERAL])).trim() === '0', {
      what: 'the setting put back',
    });
    await until(
      async () => (await host.must(['sh', '-c', 'find /sys/fs/bpf/weft 2>/dev/null; true'])) === '',
      {
        what: 'end of the pins',
      },
    );
  }
});
