import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Capture } from '#src/lab/capture.ts';
import type { Host } from '#src/lab/host.ts';
import type { Store } from '#src/lab/store.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { patience, until } from '#src/sys/until.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  PREFIX,
  readLease,
  startFlanneld,
  startStore,
  WEFT,
  writeConfig,
} from '../support/flanneld.ts';
import { type Node, startNode } from '../support/network.ts';
import {
  agreementsOf,
  cannotRunCharon,
  connectionsOf,
  lacksEsp,
  untilTunnel,
} from '../support/strongswan.ts';
import { testLab, wholeFile } from '../support/test-lab.ts';

/*
 * The backend ipsec. flanneld starts charon, strongSwan's daemon, on both hosts; packets are ESP on br0.
 *
 *     store .190 etcd     h1 .191 flanneld, charon ── c     h2 .192 flanneld, charon ── c
 *          └───────────────────────── br0 172.16.70.1 ──────────────────┘
 */
const skip = cannotRunCharon('etcd', 'etcdctl', 'ping', 'tcpdump');
const skipEsp = skip || lacksEsp();

const KEY = `secret-${'0123456789'.repeat(9)}`;
const CONFIG = JSON.stringify({
  Network: '10.0.0.0/16',
  SubnetLen: 24,
  Backend: { Type: 'ipsec', PSK: KEY },
});

let etcd: Store;
let one: Node;
let two: Node;

wholeFile(skip, async (owner) => {
  const lab = await testLab(owner, { hosts: 2 });
  etcd = await startStore(lab, 'etcd');
  await writeConfig(etcd, 3, CONFIG);
  const nodes: Node[] = [];
  for (const host of lab.hosts) nodes.push(await startNode(host, flagsFor(host, etcd)));
  const [first, second] = nodes;
  assert.ok(first && second);
  [one, two] = [first, second];
  if (skipEsp === false) await untilTunnel([one.host, two.host]);
});

const policiesOf = async (host: Host): Promise<string[]> =>
  (await host.must(['ip', 'xfrm', 'policy']))
    .split(/\n(?=src)/)
    .map((text) => text.replaceAll(/\s+/g, ' ').trim())
    .filter((text) => text !== '' && !/dir \d|socket/.test(text))
    .sort();

const becomes = (host: Host, policies: readonly string[]): Promise<true> =>
  until(async () => (await policiesOf(host)).join('\n') === policies.join('\n') || undefined, {
    what: `the policies of ${host.name}`,
    intervalMs: 5,
  });

const charonOf = async (host: Host): Promise<string> => (await host.read('/run/charon.pid'))?.trim() ?? '';
const nameOf = (own: Node, peer: Node): string =>
  `${own.host.address}-${own.subnet}.0/24-${peer.subnet}.0/24-${peer.host.address}`;

test('what a host has for a peer: flannel’s policies and connection, and nothing that leaves it plain', {
  skip,
}, async () => {
  const [own, peer] = [one, two];
  const wanted = [
    `src 0.0.0.0/0 dst ${own.subnet}.0/24 dir out priority 1 ptype main`,
    'src 0.0.0.0/0 dst 10.0.0.0/16 dir out action block priority 2 ptype main',
    `src ${own.subnet}.0/24 dst ${peer.subnet}.0/24 dir out priority 0 ptype main tmpl src ${own.host.address} dst ${peer.host.address} proto esp reqid 11 mode tunnel`,
    `src ${peer.subnet}.0/24 dst ${own.subnet}.0/24 dir fwd priority 0 ptype main tmpl src ${peer.host.address} dst ${own.host.address} proto esp reqid 11 mode tunnel`,
    `src ${peer.subnet}.0/24 dst ${own.subnet}.0/24 dir in priority 0 ptype main tmpl src ${peer.host.address} dst ${own.host.address} proto esp reqid 11 mode tunnel`,
  ].sort();
  await becomes(own.host, wanted);
  await until(async () => (await connectionsOf(own.host)).join() === nameOf(own, peer) || undefined, {
    what: 'the connection',
  });
  assert.match(
    await readLease(etcd, 3, own.subnet),
    new RegExp(
      `^\\{"PublicIP":"${own.host.address}","PublicIPv6":null,"BackendType":"ipsec","Node":"[^"]+"\\}$`,
    ),
  );
  // 1500 less 77.
  assert.match((await own.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1423$/m);
});

test('the key is nowhere to be read', { skip }, async () => {
  const { host, flags } = one;
  const slowly = { timeoutMs: 20_000 * patience() };
  const said = [
    await daemonLog(host),
    await host.must([WEFT, 'status', '--json', ...flags], slowly),
    (await host.run([WEFT, 'doctor', '--json', ...flags], slowly)).stdout,
    (await host.run([WEFT, 'plan', ...flags], slowly)).stdout,
    (await host.run(['sh', '-c', 'cat /proc/[0-9]*/cmdline'])).stdout,
  ].join('\n');
  assert.match(said, /ipsec/);
  assert.doesNotMatch(said, /secret-0123456789/);
  // What the node remembers holds the whole config, and is root's alone.
  assert.match(await host.must(['sh', '-c', 'stat -c %a /var/lib/weft/network-*.json']), /^(600\n)+$/);
});

test('containers reach each other in both directions, full packets pass, and the underlay sees ESP alone', {
  skip: skipEsp,
}, async (t) => {
  // What comes in is seen once more, as it was inside.
  const filter = 'outbound and (esp or net 10.0.0.0/16) and not arp';
  const captures = [
    await Capture.start(one.host, 'eth0', filter),
    await Capture.start(two.host, 'eth0', filter),
  ];
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    await from.container.must(['ping', '-c', '3', '-W', '10', to.container.address]);
    // 1423 bytes with the headers of IP and ICMP.
    await from.container.must([
      'ping',
      '-c',
      '1',
      '-W',
      '10',
      '-M',
      'do',
      '-s',
      '1395',
      to.container.address,
    ]);
  }
  for (const capture of captures) {
    await capture.waitFor(8);
    await capture.stop();
    const lines = (await capture.text()).trim().split('\n');
    t.diagnostic(`${lines.length} packets on the underlay`);
    assert.ok(lines.length >= 8, lines.join('\n'));
    for (const line of lines) assert.match(line, /: ESP\(spi=0x[0-9a-f]+,seq=0x[0-9a-f]+\), length \d+$/);
  }
});

test('policies that others change are put right, and nothing leaves the host plain meanwhile', {
  skip,
}, async (t) => {
  const { host } = one;
  const wanted = await policiesOf(host);
  const out = `src ${one.subnet}.0/24 dst ${two.subnet}.0/24 dir out`;
  const capture = await Capture.start(host, 'eth0', 'outbound and net 10.0.0.0/16 and not arp');
  const echoes = [WEFT, 'lab', 'echoes', '--per-second=20', two.container.address];
  // Where the kernel has no ESP none is answered.
  const pings = await one.container.start('pings', echoes);
  for (const [what, ...words] of [
    ['removed', 'delete', ...out.split(' ')],
    ['another’s', 'update', ...out.split(' '), 'action', 'block'],
  ] as const) {
    await host.must(['ip', 'xfrm', 'policy', ...words]);
    const began = performance.now();
    await becomes(host, wanted);
    // With the time that `ip` takes to say so.
    t.diagnostic(`${what}: ${(performance.now() - began).toFixed(0)} ms`);
  }
  await pings.stop();
  await capture.stop();
  const plain = (await capture.text()).trim().split('\n').filter(Boolean);
  assert.deepEqual(plain.slice(0, 3), []);
  // Then nothing keeps them back, until all policies are there again.
  await host.must(['ip', 'xfrm', 'policy', 'flush']);
  await becomes(host, wanted);
});

test('a restart leaves charon and its tunnels, and loses no packet', { skip }, async (t) => {
  const { host, flags, container } = one;
  const [charon, policies] = [await charonOf(host), await policiesOf(host)];
  assert.match(charon, /^\d+$/);
  const traffic = skipEsp === false ? await Traffic.start(container, two.container.address) : undefined;
  await (await host.daemon('flanneld'))?.stop();
  assert.deepEqual(await policiesOf(host), policies);
  await startFlanneld(host, flags);
  const log = await daemonLog(host);
  assert.match(log, /charon runs already/);
  await until(async () => (await connectionsOf(host)).length === 1 || undefined, { what: 'the connection' });
  assert.equal(await charonOf(host), charon);
  assert.deepEqual(await policiesOf(host), policies);
  if (traffic === undefined) return;
  const report = await traffic.stop();
  t.diagnostic(JSON.stringify(report));
  assert.equal(report.lost, 0, JSON.stringify(report));
});

test('a charon that is killed is started again, and the hosts agree again', { skip }, async (t) => {
  const { host, container } = one;
  const charon = await charonOf(host);
  const traffic = skipEsp === false ? await Traffic.start(container, two.container.address) : undefined;
  process.kill(Number(charon), 'SIGKILL');
  const again = await until(
    async () => {
      const now = await charonOf(host);
      return now !== '' && now !== charon && (await connectionsOf(host)).includes(nameOf(one, two)) && now;
    },
    { what: 'another charon with the connection', timeoutMs: 30_000, intervalMs: 200 },
  );
  assert.notEqual(again, charon);
  if (traffic === undefined) return;
  await untilTunnel([host]);
  await container.must(['ping', '-c', '1', '-W', '10', two.container.address]);
  const report = await traffic.stop();
  t.diagnostic(JSON.stringify(report));
  // The kernel keeps the keys that the dead charon gave it.
  assert.ok(report.received > 0 && report.lost <= report.sent / 2, JSON.stringify(report));
});

test('a peer that is gone has no policies, no connection and no tunnel', { skip }, async () => {
  await (await two.host.daemon('flanneld'))?.stop();
  await etcd.must(3, ['del', `${PREFIX}/subnets/${two.subnet}.0-24`]);
  await until(async () => (await policiesOf(one.host)).length === 2 || undefined, {
    what: 'removal of policies',
  });
  await until(async () => (await connectionsOf(one.host)).length === 0 || undefined, {
    what: 'removal of the connection',
  });
  await until(async () => !/ESTABLISHED/.test(await agreementsOf(one.host)) || undefined, {
    what: 'the end of the tunnel',
  });
});

test('without strongSwan the one line says what to install', { skip }, async () => {
  const { host, flags } = one;
  await (await host.daemon('flanneld'))?.stop();
  process.kill(Number(await charonOf(host)), 'SIGTERM');
  await until(async () => (await host.run(['swanctl', '--stats'])).code !== 0 || undefined, {
    what: 'end of charon',
  });
  // On this host alone.
  await host.must(['mount', '-n', '--bind', '/dev/null', '/usr/lib/ipsec/charon']);
  const daemon = await host.start('without', [FLANNELD, ...flags]);
  await daemon.waitForLog(
    /charon: there is no charon on this host; install strongSwan: apt install strongswan-charon/,
    20_000,
  );
  await daemon.stop();
});
