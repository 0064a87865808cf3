import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import { ipv4, parseIp, parsePrefix, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Secret } from '#src/lib/secret.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { type KernelObject, KINDS, type WireguardPeer } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { patience, until } from '#src/sys/until.ts';
import { untilCarrier } from '../support/carrier.ts';
import { lacks } from '../support/kernel-has.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Two namespaces, each with a WireGuard device wg0 under a reconciler; `wg` is the other program that changes things.
 *
 *   a: u0 192.0.2.1, wg0 10.5.1.0/32 ──(x0 198.51.100.0/24)── b: wg0 10.5.2.0/32
 */
const skip = cannotRun('wg', 'ping') || (await lacks('wireguard'));
const ip = (text: string) => parseIp(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);

interface Keys {
  readonly privateKey: Secret;
  readonly publicKey: string;
  readonly text: string;
}

function newKeys(): Keys {
  const { d = '', x = '' } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  const bytes = Buffer.from(d, 'base64url');
  return {
    privateKey: Secret.copyOf(bytes),
    publicKey: Buffer.from(x, 'base64url').toString('base64'),
    text: bytes.toString('base64'),
  };
}

interface Side {
  readonly namespace: ScratchNamespace;
  readonly wireguard: WireguardKernel;
  readonly owner: Owner;
}

async function side(t: TestContext): Promise<Side> {
  const namespace = scratchNamespace(t);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  const wireguard = new WireguardKernel(
    { netlink: systemNetlink, clock: systemClock },
    { namespace: namespace.path },
  );
  t.after(() => {
    kernel.close();
    wireguard.close();
  });
  const reconciler = new Reconciler(
    { actuators: [kernel, wireguard], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes: readonly Scope[] = [
    { kinds: KINDS.names, filter: { device: 'wg0' }, owns: ({ kind }) => kind === 'wireguard-peer' },
  ];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  await reconciler.start(t.signal);
  return { namespace, wireguard, owner };
}

const ownObjects = ({ privateKey, publicKey }: Keys, address: string, port = 51_820): KernelObject[] => [
  { kind: 'link', name: 'wg0', type: 'wireguard', mtu: 1420, up: true },
  { kind: 'wireguard-device', device: 'wg0', privateKey, publicKey, listenPort: port, fwmark: 0 },
  { kind: 'address', prefix: prefix(`${address}/32`), device: 'wg0' },
];

const peerOf = ({ publicKey }: Keys, endpoint: string, subnet: string): WireguardPeer => ({
  kind: 'wireguard-peer',
  device: 'wg0',
  publicKey,
  endpoint: { ip: ip(endpoint), port: 51_820 },
  allowedIps: [prefix(subnet)],
  keepalive: 0,
});

const routeTo = (subnet: string): KernelObject => ({
  kind: 'route',
  destination: prefix(subnet),
  type: 'unicast',
  device: 'wg0',
  onlink: false,
  metric: 0,
  protocol: 3,
  scope: 253,
});

const show = ({ namespace }: Side, what: string) => namespace.run(`wg show wg0 ${what}`).trim();

/** Until it is right again, as seen by a program that asks again and again. */
async function repaired(
  t: TestContext,
  what: string,
  broken: () => void,
  isRight: () => boolean,
): Promise<void> {
  broken();
  assert.ok(!isRight(), `${what} is broken`);
  const began = performance.now();
  await until(isRight, { what, intervalMs: 5 });
  t.diagnostic(`repaired in ${(performance.now() - began).toFixed(0)} ms: ${what}`);
}

test('wg sees what was made, and what wg changes is put back', { skip }, async (t) => {
  const a = await side(t);
  const [own, other, stranger] = [newKeys(), newKeys(), newKeys()];
  const presharedKey = Secret.copyOf(new Uint8Array(32).fill(9));
  const peer = { ...peerOf(other, '192.0.2.9', '10.5.2.0/24'), presharedKey, keepalive: 25 };
  const both = { ...peer, allowedIps: [...peer.allowedIps, prefix('fd00:2::/64')] };
  a.owner.allowRemoval();
  a.owner.set('own', ownObjects(own, '10.5.1.0'));
  a.owner.set('peer', [both, routeTo('10.5.2.0/24')]);
  await a.owner.settled();
  assert.deepEqual(a.owner.status.failing, []);
  // Without the figures: a keepalive has been sent, or not yet.
  const dump = () => show(a, 'dump').replace(/\t\d+\t\d+\t\d+\t25/, '\t25');
  const right = [
    [own.text, own.publicKey, '51820', 'off'],
    [
      other.publicKey,
      Buffer.alloc(32, 9).toString('base64'),
      '192.0.2.9:51820',
      '10.5.2.0/24,fd00:2::/64',
      '25',
    ],
  ]
    .map((words) => words.join('\t'))
    .join('\n');
  assert.equal(dump(), right);

  const wg = (words: string) => a.namespace.run(`wg set wg0 ${words}`);
  const isRight = () => dump() === right;
  await repaired(t, 'a peer', () => wg(`peer ${other.publicKey} remove`), isRight);
  await repaired(t, 'allowed IPs', () => wg(`peer ${other.publicKey} allowed-ips 10.5.3.0/24`), isRight);
  await repaired(
    t,
    'allowed IPs that a stranger took',
    () => wg(`peer ${stranger.publicKey} allowed-ips 10.5.2.0/24`),
    isRight,
  );
  await repaired(t, 'an endpoint', () => wg(`peer ${other.publicKey} endpoint 192.0.2.66:7`), isRight);
  await repaired(t, 'a keepalive', () => wg(`peer ${other.publicKey} persistent-keepalive 0`), isRight);
  await repaired(t, 'a preshared key', () => wg(`peer ${other.publicKey} preshared-key /dev/null`), isRight);
  await repaired(t, 'the port', () => wg('listen-port 4242'), isRight);
  await repaired(t, 'the mark', () => wg('fwmark 7'), isRight);
  const folder = scratchFolder(t);
  writeFileSync(`${folder}/key`, newKeys().text);
  await repaired(t, 'the private key', () => wg(`private-key ${folder}/key`), isRight);
  await until(() => a.owner.status.failing.length === 0, { what: 'peace' });
  a.namespace.run('ip link del wg0');
  await until(
    () => {
      try {
        return isRight() && a.namespace.run('ip route show dev wg0').includes('10.5.2.0/24');
      } catch {
        return false;
      }
    },
    { what: 'the device again', intervalMs: 5 },
  );

  a.owner.set('peer', []);
  await a.owner.settled();
  assert.equal(show(a, 'peers'), '');
  assert.deepEqual(a.owner.status.failing, []);
});

test('hundreds of peers go in, are listed, and one that is taken out comes back', { skip }, async (t) => {
  const a = await side(t);
  const count = 600;
  const peers = Array.from({ length: count }, (_, n): WireguardPeer => {
    const subnet = prefix4(ipv4(0x0a_00_00_00 + n * 256), 24);
    return {
      ...peerOf({ ...NO_KEYS, publicKey: keyNumber(n) }, '192.0.2.9', '10.0.0.0/24'),
      // The first has more than a message holds, so that the kernel splits it.
      allowedIps: n === 0 ? manyPrefixes(1_500) : [subnet],
    };
  });
  a.owner.allowRemoval();
  a.owner.set('own', ownObjects(newKeys(), '10.255.0.0'));
  const began = performance.now();
  for (const [n, peer] of peers.entries()) a.owner.set(String(n), [peer]);
  await a.owner.settled();
  const made = performance.now() - began;
  assert.deepEqual(a.owner.status.failing, []);
  assert.equal(show(a, 'peers').split('\n').length, count);
  const found = await a.wireguard.reports('wg0');
  assert.equal(found.length, count);
  assert.equal(found.find(({ publicKey }) => publicKey === keyNumber(0))?.allowedIps.length, 1_500);

  const repairs = a.owner.status.repairs;
  const key = keyNumber(500);
  const gone = performance.now();
  a.namespace.run(`wg set wg0 peer ${key} remove`);
  await until(() => a.owner.status.repairs > repairs, { what: 'a repair', intervalMs: 5 });
  const back = performance.now() - gone;
  await a.owner.settled();
  assert.equal(show(a, 'allowed-ips').split('\n').length, count);
  const cpu = process.cpuUsage();
  const from = performance.now();
  await systemClock.sleep(2_000 * Math.sqrt(patience()), t.signal);
  const { user, system } = process.cpuUsage(cpu);
  const share = (user + system) / 10 / (performance.now() - from);
  t.diagnostic(
    `${count} peers: made in ${made.toFixed(0)} ms, one back after ${back.toFixed(0)} ms, at rest ${share.toFixed(1)} % of a processor`,
  );
});

test('packets go from one end to the other, and a peer that moves is followed', { skip }, async (t) => {
  const [a, b] = [await side(t), await side(t)];
  const [spaceA, spaceB] = [a.namespace, b.namespace];
  spaceA.run(`ip link add x0 type veth peer name x0 netns ${spaceB.path.split('/').at(-1)}`);
  spaceA.run('ip address add 198.51.100.1/24 dev x0');
  spaceB.run('ip address add 198.51.100.2/24 dev x0');
  for (const space of [spaceA, spaceB]) space.run('ip link set x0 up');
  for (const space of [spaceA, spaceB]) untilCarrier(space.run, 'x0');
  const [keysA, keysB] = [newKeys(), newKeys()];
  const join = (
    { owner }: Side,
    keys: Keys,
    address: string,
    other: Keys,
    endpoint: string,
    subnet: string,
  ) => {
    owner.allowRemoval();
    owner.set('own', ownObjects(keys, address));
    owner.set('peer', [peerOf(other, endpoint, subnet), routeTo(subnet)]);
    return owner.settled();
  };
  await join(a, keysA, '10.5.1.0', keysB, '198.51.100.2', '10.5.2.0/24');
  await join(b, keysB, '10.5.2.0', keysA, '198.51.100.1', '10.5.1.0/24');
  const ping = (space: ScratchNamespace, to: string) =>
    space.run(`ping -c 2 -i 0.2 -W ${2 * patience()} -M do -s 1392 ${to}`);
  assert.match(ping(spaceA, '10.5.2.0'), / 0% packet loss/);

  // b's packets come from another address, as those of a host behind a NAT do.
  spaceB.run('ip address add 198.51.100.77/24 dev x0');
  spaceB.run('sysctl -qw net.ipv4.conf.x0.promote_secondaries=1');
  spaceB.run('ip address del 198.51.100.2/24 dev x0');
  const repairs = a.owner.status.repairs;
  assert.match(ping(spaceB, '10.5.1.0'), / 0% packet loss/);
  await until(() => show(a, 'endpoints').endsWith('198.51.100.77:51820'), { what: 'the kernel to follow' });
  // Looks at it, some of which take place while nothing is received.
  await systemClock.sleep(500 * Math.sqrt(patience()), t.signal);
  assert.match(show(a, 'endpoints'), /198\.51\.100\.77:51820$/);
  assert.equal(a.owner.status.repairs, repairs);
  // Whatever else is repaired there, the endpoint stays.
  spaceA.run(`wg set wg0 peer ${keysB.publicKey} allowed-ips 10.5.9.0/24`);
  await until(() => show(a, 'allowed-ips').endsWith('10.5.2.0/24'), { what: 'a repair' });
  assert.match(show(a, 'endpoints'), /198\.51\.100\.77:51820$/);

  // A lease that names another address is followed at once.
  a.owner.set('peer', [peerOf(keysB, '198.51.100.3', '10.5.2.0/24'), routeTo('10.5.2.0/24')]);
  await a.owner.settled();
  assert.match(show(a, 'endpoints'), /198\.51\.100\.3:51820$/);
  assert.match(ping(spaceB, '10.5.1.0'), / 0% packet loss/);
  await until(() => show(a, 'endpoints').endsWith('198.51.100.77:51820'), { what: 'the kernel to follow' });
});

test('this kernel’s WireGuard reports no changes', { skip }, async (t) => {
  const a = await side(t);
  assert.deepEqual((await a.wireguard.family())?.groups, []);
});

const NO_KEYS: Keys = { privateKey: Secret.copyOf(new Uint8Array(32)), publicKey: '', text: '' };

/** Any 32 bytes are a public key. */
function keyNumber(n: number): string {
  const bytes = Buffer.alloc(32, 5);
  bytes.writeUInt32BE(n, 8);
  return bytes.toString('base64');
}

const manyPrefixes = (count: number) =>
  Array.from({ length: count }, (_, n) => prefix4(ipv4(0x64_40_00_00 + n * 4), 30));
