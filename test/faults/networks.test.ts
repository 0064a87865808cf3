import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bridgeOptionsOf, type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { Store } from '#src/lab/store.ts';
import { Traffic } from '#src/lab/traffic.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { FLANNELD, startStore, WEFT } from '../support/flanneld.ts';
import { statusesOf } from '../support/node-status.ts';
import { cannotRun, testLab, wholeFile } from '../support/test-lab.ts';

/*
 * Three networks in one flanneld on each of three hosts. What is done to one of them loses no packet of the others:
 *
 *     h1, h2, h3: flanneld --watch-networks
 *       ├─ flannel.1 ── blue   10.1.0.0/16 ── bridge ── container        faults are done here, on h1
 *       ├─ flannel.2 ── red    10.2.0.0/16 ── bridge ── container  ──▶   traffic from h1 to h2
 *       └─ flannel.3 ── green  10.3.0.0/16 ── bridge ── container  ──▶   traffic from h1 to h3
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const PREFIX = '/nets';
const FOLDER = '/run/flannel/nets';
const NETWORKS = ['blue', 'red', 'green'] as const;
type Name = (typeof NETWORKS)[number];
const configOf = (vni: number): string =>
  `{"Network":"10.${vni}.0.0/16","Backend":{"Type":"vxlan","VNI":${vni}}}`;

let lab: Lab;
let etcd: Store;
const containers = new Map<string, Container>();

const weft = (host: Host, ...words: string[]) => host.run([WEFT, ...words]);
const flags = (): string[] => [`--etcd-endpoints=${etcd.endpoints.join(',')}`, `--etcd-prefix=${PREFIX}`];
const network = (...words: string[]) => weft(lab.store, 'network', ...words, ...flags());
const hostOf = (n: number): Host => lab.hosts[n] ?? assert.fail(`no host ${n}`);
const containerOf = (host: Host, name: Name): Container =>
  containers.get(`${host.name} ${name}`) ?? assert.fail(`no container of ${name} on ${host.name}`);

async function statusOf(host: Host): Promise<ReadonlyMap<string, NodeStatus>> {
  return new Map((await statusesOf(host)).map((status) => [status.name ?? '', status]));
}

const isReady = (host: Host, name: string): Promise<true> =>
  until(async () => (await statusOf(host)).get(name)?.ready === true, {
    what: `network ${name} that is ready on ${host.name}`,
    timeoutMs: 30_000,
  });

wholeFile(skip, async (owner) => {
  lab = await testLab(owner, { hosts: 3 });
  etcd = await startStore(lab, 'etcd');
  for (const host of lab.hosts) {
    const own = [`--iface=${host.address}`, '--ip-masq=true', '--watch-networks', `--subnet-file=${FOLDER}`];
    await host.start('flanneld', [FLANNELD, ...flags(), ...own]);
  }
});

test('networks that are added appear on every host, with a device and a file each', { skip }, async () => {
  for (const [index, name] of NETWORKS.entries()) {
    const added = await network('add', name, configOf(index + 1));
    assert.equal(added.code, 0, added.stderr);
  }
  for (const host of lab.hosts) {
    for (const name of NETWORKS) {
      await isReady(host, name);
      const env = (await host.read(`${FOLDER}/${name}.env`)) ?? assert.fail(`no ${name}.env on ${host.name}`);
      await makeBridge(host, bridgeOptionsOf(env), `br-${name}`);
      containers.set(`${host.name} ${name}`, await makeContainer(host, name, `br-${name}`));
    }
  }
  const listed = await network('ls');
  assert.deepEqual(
    listed.stdout
      .split('\n')
      .filter((line) => line.includes(' vxlan '))
      .map((line) => line.trim().split(/\s+/).slice(0, 3).join(' ')),
    ['blue 10.1.0.0/16 vxlan', 'green 10.3.0.0/16 vxlan', 'red 10.2.0.0/16 vxlan'],
  );
  for (const name of NETWORKS) {
    for (const from of lab.hosts) {
      for (const to of lab.hosts) {
        if (to !== from) await reaches(containerOf(from, name), containerOf(to, name));
      }
    }
  }
});

const reaches = (from: Container, to: Container): Promise<true> =>
  until(async () => (await from.run(['ping', '-c1', '-W1', to.address])).code === 0, {
    what: `answer of ${to.name} to ${from.name}`,
    timeoutMs: 15_000,
  });

/** Runs something under traffic in red and green, of which no packet may be lost. */
async function besides(fault: string, act: () => Promise<void>): Promise<void> {
  const [one, two, three] = [hostOf(0), hostOf(1), hostOf(2)];
  const traffics = [
    await Traffic.start(containerOf(one, 'red'), containerOf(two, 'red').address),
    await Traffic.start(containerOf(one, 'green'), containerOf(three, 'green').address),
  ];
  try {
    await act();
  } finally {
    const reports = await Promise.all(traffics.map((traffic) => traffic.stop()));
    const lost = reports.reduce((sum, report) => sum + report.lost, 0);
    assert.ok(reports.every(({ sent }) => sent > 0));
    reportFault({ fault: `${fault}, beside two networks`, repairedMs: [], lost });
    assert.equal(lost, 0, fault);
  }
}

const DRIFTS: readonly (readonly [what: string, act: string])[] = [
  ['route deleted', 'ip route del $(ip route show dev flannel.1 | head -n1 | cut -d" " -f1) dev flannel.1'],
  [
    'neighbour deleted',
    'ip neigh del $(ip neigh show dev flannel.1 | head -n1 | cut -d" " -f1) dev flannel.1',
  ],
  ['fdb deleted', 'bridge fdb del $(bridge fdb show dev flannel.1 | head -n1 | cut -d" " -f1) dev flannel.1'],
  // By its name: a flush goes on until there is no address, and this one comes back meanwhile.
  [
    'address deleted',
    'ip addr del $(ip -4 -o addr show dev flannel.1 | tr -s " " | cut -d" " -f4) dev flannel.1',
  ],
  ['link down', 'ip link set flannel.1 down'],
  ['MAC changed', 'ip link set flannel.1 address 02:00:00:0b:ad:01'],
  ['MTU changed', 'ip link set flannel.1 mtu 1300'],
  ['device deleted', 'ip link del flannel.1'],
  ['sysctl off', 'sysctl -qw net.ipv4.conf.flannel/1.forwarding=0'],
  [
    'rules flushed',
    'for c in FWD POSTRTG; do t=filter; [ $c = FWD ] || t=nat; iptables -t $t -F FLANNEL-$c-1; done',
  ],
];

/** All that blue has on a host, as text. */
const LOOK = `ip -d link show flannel.1 | grep -v qdisc; ip link show flannel.1 | grep -o 'mtu [0-9]*'; ip addr show dev flannel.1 | grep 'inet '
  ip route show dev flannel.1; ip neigh show dev flannel.1; bridge fdb show dev flannel.1
  iptables-save | grep -- -1; sysctl -n net.ipv4.conf.flannel/1.forwarding`;

test('each drift of one network is repaired, and the others lose nothing', { skip }, async () => {
  const [one, two] = [hostOf(0), hostOf(1)];
  const look = async (): Promise<string> => {
    const { stdout } = await one.run(['sh', '-c', LOOK]);
    // A device that was made again has another number.
    return stdout
      .replace(/^\d+: /gm, '')
      .split('\n')
      .map((line) => line.trim())
      .sort()
      .join('\n');
  };
  const wanted = await look();
  await besides('drifts of one network', async () => {
    for (const [what, act] of DRIFTS) {
      await one.must(['sh', '-ec', act]);
      await until(async () => (await look()) === wanted, {
        what: `the repair of ${what}`,
        timeoutMs: 15_000,
      });
    }
  });
  await reaches(containerOf(one, 'blue'), containerOf(two, 'blue'));
});

test('a config that changes is followed in place by its network alone', { skip }, async () => {
  const [one, two] = [hostOf(0), hostOf(1)];
  await besides('a config changed', async () => {
    await etcd.put(`${PREFIX}/blue/config`, configOf(1).replace('"VNI":1', '"VNI":1,"MTU":1400'));
    await until(async () => /FLANNEL_MTU=1350/.test((await one.read(`${FOLDER}/blue.env`)) ?? ''), {
      what: 'MTU in blue.env',
      timeoutMs: 20_000,
    });
    await etcd.put(`${PREFIX}/blue/config`, configOf(1).replace('"VNI":1', '"VNI":9'));
    await until(
      async () =>
        (await statusOf(one)).get('blue')?.troubles.some((trouble) => /Backend\.VNI is now 9/.test(trouble)),
      { what: 'refusal of another VNI', timeoutMs: 20_000 },
    );
    await isReady(one, 'red');
    await etcd.put(`${PREFIX}/blue/config`, configOf(1));
    await isReady(one, 'blue');
  });
  await reaches(containerOf(one, 'blue'), containerOf(two, 'blue'));
});

test('a network that clashes is refused with both names, and the others go on', { skip }, async () => {
  const one = hostOf(0);
  const refused = await network(
    'add',
    'pink',
    '{"Network":"10.4.0.0/16","Backend":{"Type":"vxlan","VNI":2}}',
  );
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /network pink would clash with network red: the device of both would be flannel\.2/,
  );
  await besides('a clashing network', async () => {
    await etcd.put(`${PREFIX}/pink/config`, '{"Network":"10.4.0.0/16","Backend":{"Type":"vxlan","VNI":2}}');
    await until(
      async () =>
        (await statusOf(one))
          .get('pink')
          ?.troubles.some((trouble) =>
            /network pink can not start: its device would be flannel\.2, which is that of network red/.test(
              trouble,
            ),
          ),
      { what: 'refusal of pink', timeoutMs: 20_000 },
    );
    assert.equal((await weft(one, 'status')).code, 1);
  });
  const leases = await etcd.must(3, ['get', '--prefix', '--keys-only', `${PREFIX}/pink/subnets`]);
  assert.equal(leases.trim(), '', 'a network that can not run takes no subnet');
  assert.equal((await network('rm', 'pink')).code, 0);
});

test('a network that is removed goes from every host with all it had, and the others stay', {
  skip,
}, async () => {
  const kept = ['red', 'green'] as const;
  await besides('a network removed', async () => {
    assert.equal((await network('rm', 'blue')).code, 0);
    for (const host of lab.hosts) {
      await until(async () => !(await statusOf(host)).has('blue'), {
        what: `end of blue on ${host.name}`,
        timeoutMs: 60_000,
      });
      await until(async () => (await host.run(['ip', 'link', 'show', 'flannel.1'])).code !== 0, {
        what: `end of flannel.1 on ${host.name}`,
      });
      await until(async () => !/FLANNEL-\w+-1\b/.test(await host.must(['iptables-save'])), {
        what: `end of blue's rules on ${host.name}`,
      });
      await until(async () => (await host.read(`${FOLDER}/blue.env`)) === undefined, {
        what: `end of blue's file on ${host.name}`,
      });
    }
  });
  for (const name of kept) await reaches(containerOf(hostOf(0), name), containerOf(hostOf(1), name));
});

test('two daemons on one host, each with a network of its own, keep their rules in peace', {
  skip,
}, async (t) => {
  const other = await testLab(t, { hosts: 1 });
  const store = await startStore(other, 'etcd');
  const [host] = other.hosts;
  assert.ok(host);
  for (const n of [1, 2]) await store.put(`/${n}/config`, configOf(n));
  const daemons = [];
  for (const n of [1, 2]) {
    const own = [`--etcd-prefix=/${n}`, `--subnet-file=/run/flannel/${n}.env`, `--iface=${host.address}`];
    const daemon = await host.start(`flanneld-${n}`, [
      FLANNELD,
      `--etcd-endpoints=${store.endpoints.join(',')}`,
      '--ip-masq=true',
      ...own,
    ]);
    await daemon.waitForLog(/Running backend/, 20_000);
    daemons.push(daemon);
  }
  const rules = async (): Promise<string[]> =>
    (await host.must(['iptables-save', '-t', 'nat']))
      .split('\n')
      .filter((line) => line.startsWith('-A FLANNEL'));
  const wanted = await rules();
  for (const n of [1, 2])
    assert.ok(
      wanted.some((line) => line.includes(`-s 10.${n}.0.0/16`) && line.includes('MASQUERADE')),
      `${n}`,
    );
  await host.must(['iptables', '-t', 'nat', '-F', 'FLANNEL-POSTRTG']);
  await until(async () => (await rules()).join() === wanted.join(), { what: 'rules of both' });
  const cleaned = await weft(host, 'cleanup', '--etcd-prefix=/2', '--subnet-file=/run/flannel/2.env');
  assert.notEqual(cleaned.code, 0, 'a network that is served is not cleaned up');
  await daemons[1]?.stop();
  const done = await weft(host, 'cleanup', '--etcd-prefix=/2', '--subnet-file=/run/flannel/2.env');
  assert.equal(done.code, 0, done.stderr);
  assert.equal((await host.run(['ip', 'link', 'show', 'flannel.2'])).code, 1);
  assert.equal((await host.run(['ip', 'link', 'show', 'flannel.1'])).code, 0);
  assert.ok((await rules()).every((line) => !line.includes('10.2.0.0')));
  assert.ok((await rules()).some((line) => line.includes('10.1.0.0')));
});
