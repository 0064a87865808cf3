import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4, parseIp } from '#src/lib/ip.ts';
import { type EchoReply, type IcmpSocket, systemIcmp } from '#src/sys/icmp-socket.ts';
import { until } from '#src/sys/until.ts';
import { untilCarrier } from '../support/carrier.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace that pings itself, and an address that nobody has:
 *
 *     u0 192.0.2.1/24 (up, MTU 1500) ── u1        lo 127.0.0.1
 */
const skip = cannotRun('nft', 'ping');
const address = (text: string) => parseIp(text) ?? assert.fail(text);
const OWN = address('192.0.2.1');

/** The next reply, as soon as the socket reports one. */
const replyOf = (socket: IcmpSocket): Promise<EchoReply> =>
  until(() => socket.receive(), { what: 'echo reply', intervalMs: 1 });

test('an echo comes back, and only those of the socket’s own identifier', { skip }, async (t) => {
  const { path, run } = scratchNamespace(t);
  run('ip link set lo up');
  const [one, other] = [
    await systemIcmp.open({ source: OWN, identifier: 7, namespace: path }),
    await systemIcmp.open({ source: OWN, identifier: 8, namespace: path }),
  ];
  t.after(() => one.close());
  t.after(() => other.close());
  let woken = 0;
  const replies: EchoReply[] = [];
  other.watch(() => {
    woken++;
    for (let reply = other.receive(); reply !== undefined; reply = other.receive()) replies.push(reply);
  });
  assert.equal(one.send({ to: OWN, sequence: 65_535, bytes: 60 }), undefined);
  assert.deepEqual(await replyOf(one), { from: OWN, sequence: 65_535 });
  run('ping -c1 -W5 192.0.2.1');
  assert.equal(one.receive(), undefined);
  // Its own reply wakes it, and the others did not.
  assert.equal(other.send({ to: OWN, sequence: 1, bytes: 1000 }), undefined);
  await until(() => replies.length > 0, { what: 'its own reply' });
  assert.deepEqual([woken, replies], [1, [{ from: OWN, sequence: 1 }]]);
});

test('what can not leave the host is a result, with the reason', { skip }, async (t) => {
  const { path, run } = scratchNamespace(t);
  const socket = await systemIcmp.open({ source: OWN, identifier: 7, namespace: path });
  t.after(() => socket.close());
  const peer = address('192.0.2.9');
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 1500 }), undefined);
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 1501 }), 'EMSGSIZE');
  assert.equal(socket.send({ to: address('198.51.100.1'), sequence: 1, bytes: 60 }), 'ENETUNREACH');
  run('nft add table ip t');
  run('nft add chain ip t out { type filter hook output priority 0 ; policy drop ; }');
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 60 }), 'EPERM');
  socket.close();
  socket.close();
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 60 }), 'EBADF');
  assert.equal(socket.receive(), undefined);
});

test('a packet that is larger than a known path MTU is sent whole', { skip }, async (t) => {
  const { path, run } = scratchNamespace(t);
  run('ip route add 198.51.100.0/24 via 192.0.2.9 mtu 1000');
  const socket = await systemIcmp.open({ source: OWN, identifier: 7, namespace: path });
  t.after(() => socket.close());
  assert.equal(socket.send({ to: address('198.51.100.1'), sequence: 1, bytes: 1400 }), undefined);
});

test('an address that the host lacks is no source', { skip }, async (t) => {
  const { path } = scratchNamespace(t);
  const open = systemIcmp.open({ source: ipv4(0x0a000001), identifier: 7, namespace: path });
  await assert.rejects(open, { code: 'icmp', message: /ICMP from 10\.0\.0\.1: bind: .*EADDRNOTAVAIL/ });
});

/*
 * Two namespaces with two links; each knows a way to the other's address by the first:
 *
 *     one 198.51.100.1 ── a0 ═══ a1 ── two 198.51.100.2        one ── b0 ═══ b1 ── two
 */
test('an echo leaves by the device that is given, and its answer comes by any', { skip }, async (t) => {
  const [one, two] = [scratchNamespace(t), scratchNamespace(t)];
  for (const link of ['a', 'b']) {
    one.run(`ip link add ${link}0 type veth peer name ${link}1 netns ${two.path.replace(/.*\//, '')}`);
    one.run(`ip link set ${link}0 up`);
    two.run(`ip link set ${link}1 up`);
  }
  untilCarrier(one.run, 'a0', 'b0');
  untilCarrier(two.run, 'a1', 'b1');
  for (const [at, end, own, peer] of [
    [one, 0, '198.51.100.1', '198.51.100.2'],
    [two, 1, '198.51.100.2', '198.51.100.1'],
  ] as const) {
    at.run('ip link set lo up');
    at.run(`ip address add ${own}/32 dev lo`);
    at.run(`ip route add ${peer}/32 dev a${end} src ${own}`);
    for (const device of ['all', `a${end}`, `b${end}`])
      at.run(`sysctl -qw net.ipv4.conf.${device}.rp_filter=0`);
  }
  const arrivedBy = (device: string): number =>
    (two.json(`ip -s link show ${device}`) as { stats64: { rx: { bytes: number } } }[])[0]?.stats64.rx
      .bytes ?? 0;
  const leaveBy = Number(one.json('ip link show b0')[0]?.ifindex);
  const before = [arrivedBy('a1'), arrivedBy('b1')];
  const [source, peer] = [address('198.51.100.1'), address('198.51.100.2')];
  const socket = await systemIcmp.open({ source, identifier: 7, leaveBy, namespace: one.path });
  t.after(() => socket.close());
  assert.equal(socket.send({ to: peer, sequence: 3, bytes: 1400 }), undefined);
  assert.deepEqual(await replyOf(socket), { from: peer, sequence: 3 });
  assert.ok(arrivedBy('a1') - (before[0] ?? 0) < 1400);
  assert.ok(arrivedBy('b1') - (before[1] ?? 0) > 1400);
});

/*
 * One namespace that pings itself in IPv6, and an address that nobody has:
 *
 *     u0 2001:db8::1/64 (up, MTU 1500) ── u1        lo ::1
 */
test('echoes of IPv6: an answer, refusals, and no fragments', { skip }, async (t) => {
  const { path, run } = scratchNamespace(t);
  run('ip link set lo up');
  run('ip address add 2001:db8::1/64 dev u0 nodad');
  const own = address('2001:db8::1');
  const [socket, other] = [
    await systemIcmp.open({ source: own, identifier: 7, namespace: path }),
    await systemIcmp.open({ source: own, identifier: 8, namespace: path }),
  ];
  t.after(() => socket.close());
  t.after(() => other.close());
  assert.equal(socket.send({ to: own, sequence: 65_535, bytes: 1000 }), undefined);
  assert.deepEqual(await replyOf(socket), { from: own, sequence: 65_535 });
  assert.equal(other.receive(), undefined);
  const peer = address('2001:db8::9');
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 1500 }), undefined);
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 1501 }), 'EMSGSIZE');
  assert.equal(socket.send({ to: address('2001:db8:1::1'), sequence: 1, bytes: 60 }), 'ENETUNREACH');
  assert.equal(socket.send({ to: OWN, sequence: 1, bytes: 60 }), 'EAFNOSUPPORT');
  run('ip -6 route add 2001:db8:2::/64 via 2001:db8::9 mtu 1300');
  assert.equal(socket.send({ to: address('2001:db8:2::1'), sequence: 1, bytes: 1400 }), undefined);
  run('nft add table ip6 t');
  run('nft add chain ip6 t out { type filter hook output priority 0 ; policy drop ; }');
  assert.equal(socket.send({ to: peer, sequence: 1, bytes: 60 }), 'EPERM');
  const lacking = systemIcmp.open({ source: address('2001:db8::5'), identifier: 7, namespace: path });
  await assert.rejects(lacking, { code: 'icmp', message: /ICMP from 2001:db8::5: bind: .*EADDRNOTAVAIL/ });
});
