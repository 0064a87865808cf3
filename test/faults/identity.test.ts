import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultCalled, kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  PREFIX,
  readLease,
  startFlanneld,
  subnetOf,
  WEFT,
} from '../support/flanneld.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  flanneldOn,
  freeSubnets,
  leaseKey,
  leaseValue,
  pause,
  sharedNetwork,
  TIMES,
  underTraffic,
} from './suite.ts';

/*
 * Who holds which subnet, and where its packets go, when hosts, addresses and leases come and go.
 *
 *     store .190 etcd
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 *     h3 .193, h4 .194 flanneld, where a test asks for them
 *
 * The last two have a network of their own.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const network = sharedNetwork(skip, { api: 3, flags: ['--iface=eth0'] });
const GATEWAY = '172.16.70.1';

const pair = (): [Node, Node] => pairOf(network());
const lease = (subnet: string): Promise<string> => readLease(network().etcd, 3, subnet);
const forwarding = ({ host }: Node): Promise<string> =>
  host.must(['bridge', 'fdb', 'show', 'dev', 'flannel.1']);

/** SIGKILL; resolves at its end, for until then it has the lock that the next one needs. */
async function killed({ host }: Node): Promise<void> {
  const daemon = await flanneldOn(host);
  daemon.kill('SIGKILL');
  await daemon.exited();
}

/** Runs flanneld to its end. */
async function ending(
  host: Node['host'],
  flags: readonly string[],
): Promise<{ code: number | undefined; log: string }> {
  const daemon = await host.start('flanneld-refused', [FLANNELD, ...flags]);
  const timer = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
  const code = await daemon.exited();
  clearTimeout(timer);
  return { code, log: await daemon.log() };
}

test('P4 a second host with the public IP of a living one refuses, in one line', { skip }, async () => {
  const [one] = pair();
  const { lab, etcd } = network();
  const twin = await lab.addHost('h4', 4);
  const before = await lease(one.subnet);
  const { lost } = await underTraffic(network(), async () => {
    const flags = [...flagsFor(twin, etcd), `--public-ip=${one.host.address}`, '--state-dir=/var/lib/twin'];
    const { code, log } = await ending(twin, flags);
    assert.equal(code, 1, log);
    assert.match(
      log,
      new RegExp(`public IP ${one.host.address} is in use by another living node .*--public-ip`),
    );
    assert.deepEqual(await twin.ip(['link', 'show', 'type', 'vxlan']), []);
  });
  await until(async () => (await lease(one.subnet)) === before, { what: 'the lease as it was' });
  reportFault({
    fault: 'P4 two hosts with one public IP',
    repairedMs: [],
    lost,
    note: 'ok, the second refuses',
  });
  assert.equal(lost, 0);
});

test('P4, P13 a host that was reinstalled gets its lease back', { skip }, async () => {
  const [one] = pair();
  const mac = /VtepMAC":"([^"]+)/.exec(await lease(one.subnet))?.[1];
  const { lost } = await underTraffic(network(), async () => {
    await killed(one);
    await one.host.must(['sh', '-c', 'rm -r /var/lib/weft /run/flannel']);
    const { subnetEnv } = await startFlanneld(one.host, one.flags);
    assert.equal(subnetOf(subnetEnv), one.subnet);
    assert.match(await lease(one.subnet), new RegExp(`VtepMAC":"${mac}"`));
  });
  reportFault({ fault: 'P4, P13 host reinstalled', repairedMs: [], lost, note: 'ok, the same subnet' });
  assert.equal(lost, 0);
});

test("P10 a peer's new MAC and address are not missed during an outage", { skip }, async () => {
  const [one] = pair();
  const { etcd, lab } = network();
  const [n] = freeSubnets(network(), 1);
  assert.ok(n !== undefined);
  const withHost = (address: string, mac: string) =>
    leaseValue(n)
      .replace(/172\.16\.71\.\d+/, address)
      .replace(/02:[0-9a-f:]+/, mac);
  const entry = (address: string, mac: string) => new RegExp(`^${mac} dst ${address} `, 'm');
  await etcd.must(3, ['put', leaseKey(n), withHost('172.16.72.1', '02:00:00:00:72:01')]);
  await until(async () => entry('172.16.72.1', '02:00:00:00:72:01').test(await forwarding(one)), {
    what: 'the peer',
  });
  const partition = faultCalled('etcd-partitioned');
  let ms = 0;
  const { lost } = await underTraffic(network(), async () => {
    const target = { lab, etcd, host: one.host };
    await partition.start(target);
    await etcd.must(3, ['put', leaseKey(n), withHost('172.16.72.2', '02:00:00:00:72:02')]);
    // A watch can't go on where it was: etcd no longer has the events that it missed.
    await faultCalled('etcd-compacted').start(target);
    await pause(3_000);
    assert.match(await forwarding(one), entry('172.16.72.1', '02:00:00:00:72:01'));
    const began = performance.now();
    await partition.end(target);
    await until(async () => entry('172.16.72.2', '02:00:00:00:72:02').test(await forwarding(one)), {
      what: 'the new entry',
      timeoutMs: 30_000,
    });
    ms = performance.now() - began;
  });
  // The old entry goes after the new ones have come.
  await until(async () => !/72:01/.test(await forwarding(one)), { what: 'the end of the old entry' });
  assert.match(
    await one.host.must(['ip', 'neigh', 'show', 'dev', 'flannel.1']),
    /^10\.0\.\d+\.0 lladdr 02:00:00:00:72:02 /m,
  );
  await etcd.must(3, ['del', leaseKey(n)]);
  reportFault({
    fault: 'P10 peer changed in an outage',
    repairedMs: [ms],
    lost,
    note: 'ok, the connection included',
  });
  assert.equal(lost, 0);
});

test('P11, P12 a subnet that another host took while we were frozen is left to it, then claimed again', {
  skip,
}, async () => {
  const [one] = pair();
  const { etcd } = network();
  const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
  const daemon = await flanneldOn(one.host);
  const env = await one.host.read('/run/flannel/subnet.env');
  daemon.kill('SIGSTOP');
  // As at the end of its time, which would have to be short: then a busy machine ends leases in other tests as well.
  const [, id = assert.fail('a key without a lease')] =
    /"Lease" : (\d+)/.exec(await etcd.must(3, ['get', '-w', 'fields', key])) ?? [];
  await etcd.must(3, ['lease', 'revoke', BigInt(id).toString(16)]);
  await until(async () => (await lease(one.subnet)) === '', { what: 'end of the lease' });
  const theirs = leaseValue(9).replace(/\}$/, ',"Node":"another"}');
  await etcd.must(3, ['put', key, theirs]);
  daemon.kill('SIGCONT');
  await daemon.waitForLog(/is now held by 172\.16\.71\.9 \(node another\)/, 20_000);
  await pause(1_000);
  assert.equal(await lease(one.subnet), theirs);
  const { code, stdout } = await one.host.run([WEFT, 'status', `--etcd-prefix=${PREFIX}`]);
  assert.equal(code, 1);
  assert.match(stdout, /NOT READY/);
  const repairedMs: number[] = [];
  for (let time = 0; time < TIMES; time++) {
    const began = performance.now();
    await etcd.must(3, ['del', key]);
    await until(async () => (await lease(one.subnet)).includes(one.host.address), {
      what: 'the lease, claimed again',
      timeoutMs: 20_000,
      intervalMs: 1,
    });
    repairedMs.push(performance.now() - began);
  }
  assert.equal(await one.host.read('/run/flannel/subnet.env'), env);
  assert.ok(daemon.isAlive());
  const [, two] = pair();
  const traffic = await Traffic.start(one.container, two.container.address);
  await until(async () => (await traffic.received()) > 50, { what: 'traffic' });
  await traffic.stop();
  reportFault({
    fault: 'P12 subnet taken by another host',
    repairedMs,
    lost: undefined,
    note: 'ok, etcdctl included',
  });
});

test('P12 a cloned disk: the clone gets an identity and a subnet of its own', { skip }, async () => {
  const [one] = pair();
  const { lab, etcd } = network();
  const clone = await lab.addHost('h3', 3);
  for (const path of ['/run/flannel/subnet.env', '/var/lib/weft/node-id'])
    await clone.write(path, (await one.host.read(path)) ?? assert.fail(`no ${path}`));
  const before = await lease(one.subnet);
  const { lost } = await underTraffic(network(), async () => {
    const { subnetEnv } = await startFlanneld(clone, flagsFor(clone, etcd));
    assert.notEqual(subnetOf(subnetEnv), one.subnet);
    assert.match(await daemonLog(clone), /made on another machine/);
    await (await flanneldOn(clone)).stop();
  });
  assert.equal(await lease(one.subnet), before);
  reportFault({ fault: 'P12 cloned disk', repairedMs: [], lost, note: 'ok, a subnet of its own' });
  assert.equal(lost, 0);
});

test("P14 the underlay's address changes in place, and the peers follow", { skip }, async () => {
  const [one, two] = pair();
  const repairedMs: number[] = [];
  const addresses = [one.host.address, '172.16.70.201'];
  const { lost } = await underTraffic(network(), async () => {
    for (let time = 0; time < 2 * Math.ceil(TIMES / 2); time++) {
      const [from, to] = time % 2 === 0 ? addresses : addresses.toReversed();
      const began = performance.now();
      await one.host.batch([
        `addr del ${from}/16 dev eth0`,
        `addr add ${to}/16 dev eth0`,
        `route replace default via ${GATEWAY}`,
      ]);
      await until(async () => (await forwarding(two)).includes(` dst ${to} `), {
        what: `the entry for ${to}`,
        timeoutMs: 30_000,
      });
      // The peers hear of the address while our own device is recreated with it.
      const ping = ['ping', '-c1', '-W1', two.container.address];
      await until(async () => (await one.container.run(ping)).code === 0, {
        what: `an answer after the move to ${to}`,
        timeoutMs: 30_000,
      });
      repairedMs.push(performance.now() - began);
    }
  });
  assert.ok((await lease(one.subnet)).includes(`"PublicIP":"${one.host.address}"`));
  await until(async () => !/ dst 172\.16\.70\.201 /.test(await forwarding(two)), {
    what: 'the end of the entry for 172.16.70.201',
  });
  const device = await one.host.must(['ip', '-d', 'link', 'show', 'flannel.1']);
  assert.ok(device.includes(` local ${one.host.address} `), device);
  reportFault({ fault: "P14 underlay's address changed", repairedMs, lost, note: 'ok' });
});

test('P17 leftovers of peers go at a start, and nothing foreign', { skip }, async () => {
  const [one] = pair();
  const wanted = await kernelState(one.host);
  const gone = freeSubnets(network(), 20);
  const foreign = [
    'route add 192.168.7.0/24 via 172.16.70.1',
    'route add 10.99.0.0/24 dev eth0',
    'route add 10.98.0.0/24 dev flannel.1',
    'addr add 192.168.9.1/32 dev flannel.1',
  ];
  const { lost } = await underTraffic(network(), async () => {
    await killed(one);
    await one.host.batch(foreign);
    const withForeign = await kernelState(one.host);
    assert.notEqual(withForeign, wanted);
    for (const n of gone) {
      await one.host.batch([
        `neigh replace 10.0.${n}.0 lladdr 02:00:00:00:03:${n.toString(16).padStart(2, '0')} dev flannel.1 nud permanent`,
        `route replace 10.0.${n}.0/24 via 10.0.${n}.0 dev flannel.1 onlink`,
      ]);
      const mac = `02:00:00:00:03:${n.toString(16).padStart(2, '0')}`;
      await one.host.must([
        'bridge',
        'fdb',
        'append',
        mac,
        'dev',
        'flannel.1',
        'dst',
        `172.16.73.${n}`,
        'self',
      ]);
    }
    await startFlanneld(one.host, one.flags);
    assert.equal(await kernelState(one.host), withForeign);
    const routes = await one.host.must(['ip', 'route']);
    for (const kept of ['192.168.7.0/24', '10.99.0.0/24', '10.98.0.0/24'])
      assert.ok(routes.includes(kept), routes);
  });
  await one.host.batch(foreign.map((line) => line.replace(' add ', ' del ')));
  assert.equal(await kernelState(one.host), wanted);
  reportFault({
    fault: 'P17 entries of peers that left',
    repairedMs: [],
    lost,
    note: 'ok, foreign ones stay',
  });
  assert.equal(lost, 0);
});

test('P25 weft release gives a lease back, weft plan shows the next start, weft cleanup leaves nothing', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one, two] = pairOf(network);
  const weft = (...words: string[]) => one.host.run([WEFT, ...words, ...one.flags]);
  assert.match((await weft('release')).stderr, /flanneld runs on this host/);
  assert.match((await weft('cleanup')).stderr, /flanneld runs on this host/);
  assert.equal((await weft('plan')).stdout.split('\n')[1], '# nothing to change: the host is as wanted');
  await (await flanneldOn(one.host)).stop();
  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`]);
  const state = await kernelState(one.host);
  const plan = await weft('plan');
  assert.equal(plan.stderr, '');
  assert.match(
    plan.stdout,
    new RegExp(`^ip route replace ${two.subnet}.0/24 via ${two.subnet}.0 dev flannel.1 onlink$`, 'm'),
  );
  assert.equal(await kernelState(one.host), state);
  assert.match((await weft('release')).stdout, new RegExp(`released ${one.subnet}.0-24`));
  assert.equal(await readLease(network.etcd, 3, one.subnet), '');
  await until(async () => (await two.host.must(['ip', 'route', 'show', `${one.subnet}.0/24`])) === '', {
    what: 'the end of the route',
  });
  const cleaned = await weft('cleanup');
  assert.equal(cleaned.code, 0, cleaned.stderr);
  assert.match(await kernelState(one.host), /Device "flannel\.1" does not exist/);
  assert.doesNotMatch(await kernelState(one.host), /FLANNEL|flanneld/);
  assert.equal(await one.host.read('/run/flannel/subnet.env'), undefined);
  assert.equal(
    (await weft('cleanup')).stdout,
    'nothing to clean up for this network; --all removes every one\n',
  );
});

test('P16 a subnet.env that can not be written on a full disk is reported, and nothing is lost', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3 });
  const [one] = pairOf(network);
  await (await flanneldOn(one.host)).stop();
  const env = await one.host.read('/run/flannel/subnet.env');
  const before = await kernelState(one.host);
  // In the daemon's own view of the file system: a disk of one page, and that is taken.
  const full =
    'mkdir /run/tiny && mount -n -t tmpfs -o size=4k none /run/tiny && head -c 4096 /dev/zero > /run/tiny/full';
  const start = `${full} && exec ${[FLANNELD, ...one.flags].join(' ')} --subnet-file=/run/tiny/subnet.env`;
  const daemon = await one.host.start('flanneld', ['sh', '-c', start]);
  await daemon.exited();
  assert.match(
    (await daemonLog(one.host)).split('\n').slice(-3).join('\n'),
    /could not write the subnet file \/run\/tiny\/subnet\.env: ENOSPC/,
  );
  assert.equal(await one.host.read('/run/flannel/subnet.env'), env);
  assert.equal(await kernelState(one.host), before);
  reportFault({ fault: 'P16 disk full for subnet.env', repairedMs: [], lost: undefined });
});
