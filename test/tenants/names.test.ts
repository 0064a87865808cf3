import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HostResolvers } from '#src/driver/names/host-resolvers.ts';
import { NameServers, type NameService } from '#src/driver/names/name-servers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { type Ip, parseIp, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemDeviceSockets } from '#src/sys/device-sockets.ts';
import { systemExchange } from '#src/sys/exchange.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Two tenants with the same addresses on one host, each with a container, and a third tenant:
 *
 *     this process: name servers, a resolver of the host's on its loopback
 *     namespace of the bridges:
 *         br-1 10.5.0.1 fd05::1 ── eth0 10.5.0.11 fd05::b :container of blue
 *         br-2 10.5.0.1 fd05::1 ── eth0 10.5.0.11 fd05::b :container of green
 *         br-3 10.6.0.1 fd06::1 ── eth0 10.6.0.11 fd06::b :container of red, which is internal
 */
const skip = cannotRun('ip', 'busybox', 'nft');
const ASK = fileURLToPath(new URL('ask-names.ts', import.meta.url));
const run = promisify(execFile);

const TENANTS = [
  tenant('blue', 1, '10.5.0.1/24', 'fd05::1/64'),
  tenant('green', 2, '10.5.0.1/24', 'fd05::1/64'),
  tenant('red', 3, '10.6.0.1/24', 'fd06::1/64', true),
] as const;

function tenant(name: string, vni: number, v4: string, v6: string, internal = false): Tenant {
  const [four, six] = [parsePrefix4(v4), parsePrefix6(v6)];
  assert.ok(four !== undefined && six !== undefined);
  const subnets = {
    v4: { prefix: four, gateway: four.address, auxiliary: {} },
    v6: { prefix: six, gateway: six.address, auxiliary: {} },
  };
  return { name, vni, internal, subnets };
}

/** A server that says 198.51.100.7 to every question, by TCP only where the name begins with `large`. */
class FakeResolver {
  /** Of this process's own: other tests run beside it. */
  static readonly address = `127.53.${(process.pid >> 8) & 255}.${process.pid & 255}`;
  static readonly port = 5300;
  readonly #socket: Socket;
  asked = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (bytes, from) => socket.send(this.#answer(bytes, 'udp'), from.port, from.address));
  }

  static async start(t: TestContext): Promise<FakeResolver> {
    const socket = createSocket('udp4');
    const resolver = new FakeResolver(socket);
    t.after(() => resolver.stop());
    socket.bind(FakeResolver.port, FakeResolver.address);
    await once(socket, 'listening');
    const server = createServer((stream) => {
      stream.on('error', () => {});
      stream.on('data', (chunk: Buffer) => {
        const answer = resolver.#answer(chunk.subarray(2), 'tcp');
        stream.write(Buffer.concat([Buffer.of(answer.length >> 8, answer.length & 255), answer]));
      });
    });
    t.after(() => void server.close());
    server.listen(FakeResolver.port, FakeResolver.address);
    await once(server, 'listening');
    return resolver;
  }

  stop(): void {
    this.#socket.close();
    this.stop = () => {};
  }

  #answer(bytes: Buffer, transport: 'udp' | 'tcp'): Buffer {
    this.asked++;
    const question = bytes.subarray(0, bytes.indexOf(0, 12) + 5);
    const cut = transport === 'udp' && question.includes('large');
    const record = Buffer.from('c00c000100010000003c0004c6336407', 'hex');
    const answer = Buffer.concat([question, ...(cut ? [] : [record])]);
    answer.writeUInt16BE(cut ? 0x8380 : 0x8180, 2);
    answer.writeUInt16BE(cut ? 0 : 1, 6);
    answer.writeUInt16BE(0, 10);
    return answer;
  }
}

interface Scene {
  readonly bridges: ScratchNamespace;
  readonly containers: readonly [ScratchNamespace, ScratchNamespace, ScratchNamespace];
  readonly tables: readonly [NameTable, NameTable, NameTable];
  readonly services: readonly NameService[];
  readonly resolver: FakeResolver;
}

async function scene(t: TestContext): Promise<Scene> {
  const bridges = scratchNamespace(t);
  const containers = [scratchNamespace(t), scratchNamespace(t), scratchNamespace(t)] as const;
  const resolver = await FakeResolver.start(t);
  const folder = await scratchFolder(t);
  await systemFiles.write(`${folder}/resolv.conf`, `nameserver ${FakeResolver.address}\n`);
  const components = {
    exchange: systemExchange,
    files: systemFiles,
    clock: systemClock,
    random: systemRandom,
  };
  const resolvers = new HostResolvers(components, { path: `${folder}/resolv.conf`, port: FakeResolver.port });
  const servers = new NameServers(
    { sockets: systemDeviceSockets, resolvers, clock: systemClock, log: silentLogger },
    { namespace: bridges.path, deviceOf: ({ vni }) => `br-${vni}`, lookMs: 50 },
  );
  const tables = [new NameTable(), new NameTable(), new NameTable()] as const;
  const services = TENANTS.map((tenant, index) => servers.serve(tenant, tables[index] ?? new NameTable()));
  t.after(() => Promise.all(services.map((service) => service.stop())));
  for (const [index, container] of containers.entries()) makeBridge(bridges, container, index + 1);
  await answering(services);
  return { bridges, containers, tables, services, resolver };
}

/**
 * A bridge with its gateway addresses, and a container on it.
 *
 * The addresses have no route beside them, so that the kernel's own answers (ICMP, resets) find no way to another tenant's
 * bridge. A socket on a device needs none in IPv4, where the device is then taken to lead there; in IPv6 a rule gives
 * it one.
 */
function makeBridge(bridges: ScratchNamespace, container: ScratchNamespace, vni: number): void {
  const net = vni === 3 ? 6 : 5;
  bridges.run(`ip link add br-${vni} type bridge mcast_snooping 0`);
  bridges.run(`ip link add p${vni} type veth peer name eth0 netns ${container.path}`);
  bridges.run(`ip link set p${vni} master br-${vni} up`);
  bridges.run(`ip link set br-${vni} up`);
  bridges.run(`ip address add 10.${net}.0.1/32 dev br-${vni}`);
  bridges.run(`ip address add fd0${net}::1/128 dev br-${vni} nodad`);
  bridges.run(`ip -6 route replace fd0${net}::/64 dev br-${vni} table ${vni}`);
  bridges.run(`ip -6 rule add oif br-${vni} lookup ${vni}`);
  bridges.run(`sysctl -qw net.ipv4.conf.br-${vni}.arp_ignore=1`);
  for (const device of ['all', `br-${vni}`]) bridges.run(`sysctl -qw net.ipv4.conf.${device}.rp_filter=0`);
  container.run(`ip address add 10.${net}.0.11/24 dev eth0`);
  container.run(`ip address add fd0${net}::b/64 dev eth0 nodad`);
  container.run('ip link set eth0 up');
}

const answering = (services: readonly NameService[]): Promise<unknown> =>
  until(() => services.every(({ trouble }) => trouble === undefined), { what: 'name servers' });

const addressOf = (text: string): Ip => {
  const ip = parseIp(text);
  assert.ok(ip !== undefined);
  return ip;
};

function publish(table: NameTable, ip: string, ...names: readonly string[]): void {
  const rest = {
    state: 'published',
    host: 'h1',
    vtep: addressOf('192.0.2.1'),
    keep: false,
    since: 0,
  } as const;
  table.set({ ip: addressOf(ip), names, ...rest });
}

const inside = ({ path }: ScratchNamespace, ...argv: readonly string[]): Promise<{ stdout: string }> =>
  run('nsenter', [`--net=${path}`, ...argv]);

/** A server that answers is asked once, also on a busy machine. One that does not is waited for no longer than needed. */
const [ANSWER_MS, NO_ANSWER_MS] = [10_000, 1_000];

/** What c-ares gets in a container; `ENOTFOUND`, `ENODATA`, `EREFUSED`, `ESERVFAIL`, `ETIMEOUT`. */
async function ask(
  container: ScratchNamespace,
  server: string,
  type: string,
  name: string,
  ms = ANSWER_MS,
): Promise<string | string[]> {
  const { stdout } = await inside(container, process.execPath, ASK, server, type, name, String(ms));
  const answer = JSON.parse(stdout) as string | string[];
  return Array.isArray(answer) ? answer.sort() : answer;
}

test('each container gets the names of its own tenant, by both families', { skip }, async (t) => {
  const { containers, tables, resolver } = await scene(t);
  const [blue, green] = containers;
  publish(tables[0], '10.5.0.12', 'web');
  publish(tables[0], 'fd05::c', 'web');
  publish(tables[0], '10.5.0.13', 'only-blue');
  publish(tables[1], '10.5.0.99', 'web');
  for (const server of ['10.5.0.1', '[fd05::1]']) {
    assert.deepEqual(await ask(blue, server, 'A', 'web'), ['10.5.0.12']);
    assert.deepEqual(await ask(green, server, 'A', 'web'), ['10.5.0.99']);
    assert.deepEqual(await ask(blue, server, 'AAAA', 'web.blue.weft'), ['fd05::c']);
    assert.equal(await ask(green, server, 'AAAA', 'web'), 'ENODATA');
    assert.equal(await ask(green, server, 'A', 'only-blue.weft'), 'ENOTFOUND');
    assert.deepEqual(await ask(blue, server, 'PTR', '10.5.0.13'), ['only-blue.blue']);
    assert.equal(await ask(green, server, 'PTR', '10.5.0.13'), 'ENOTFOUND');
    assert.equal(await ask(blue, server, 'ANY', 'web'), 'EREFUSED');
  }
  assert.equal(resolver.asked, 0);
  const { stdout } = await inside(blue, 'busybox', 'nslookup', 'only-blue.weft', '10.5.0.1');
  assert.match(stdout, /Address: 10\.5\.0\.13/);
});

test('an answer that no datagram holds comes whole by TCP', { skip }, async (t) => {
  const { containers, tables } = await scene(t);
  const addresses = Array.from({ length: 200 }, (_, host) => `10.5.0.${host + 20}`);
  for (const address of addresses) publish(tables[0], address, 'web');
  for (const server of ['10.5.0.1', '[fd05::1]'])
    assert.deepEqual(await ask(containers[0], server, 'A', 'web'), addresses.toSorted());
});

test('others’ names are asked of the host’s resolver, but not for an internal tenant', {
  skip,
}, async (t) => {
  const { containers, tables, resolver } = await scene(t);
  const [blue, , red] = containers;
  publish(tables[2], '10.6.0.12', 'web');
  assert.deepEqual(await ask(blue, '10.5.0.1', 'A', 'example.com'), ['198.51.100.7']);
  assert.equal(resolver.asked, 1);
  assert.deepEqual(await ask(blue, '10.5.0.1', 'A', 'large.example.com'), ['198.51.100.7']);
  assert.equal(resolver.asked, 3, 'once more by TCP');
  assert.deepEqual(await ask(red, '10.6.0.1', 'A', 'web'), ['10.6.0.12']);
  assert.equal(await ask(red, '10.6.0.1', 'A', 'example.com'), 'EREFUSED');
  assert.equal(resolver.asked, 3);
  resolver.stop();
  assert.equal(await ask(blue, '10.5.0.1', 'A', 'example.com'), 'ESERVFAIL');
});

test('a container that has a route to another tenant’s gateway gets no answer there', { skip }, async (t) => {
  const { containers, tables } = await scene(t);
  publish(tables[2], '10.6.0.12', 'web');
  const [blue] = containers;
  blue.run('ip route add 10.6.0.0/24 via 10.5.0.1');
  assert.match(String(await ask(blue, '10.6.0.1', 'A', 'web', NO_ANSWER_MS)), /^(ECONNREFUSED|ETIMEOUT)$/);
});

const FORGED = ['icmp', 'udp', 'tcp', 'icmpv6 type { destination-unreachable, echo-reply }'];

test('packets with another tenant’s address reach nobody there', { skip }, async (t) => {
  const { containers, tables } = await scene(t);
  const [blue, , red] = containers;
  publish(tables[0], '10.5.0.12', 'web');
  red.run('nft add table inet seen');
  red.run('nft add chain inet seen input { type filter hook input priority 0 ; }');
  for (const kind of FORGED) {
    const match = kind.includes(' ') ? kind : `meta l4proto ${kind}`;
    red.run(`nft add rule inet seen input ${match} counter`);
  }
  blue.run('ip address add 10.6.0.11/32 dev lo');
  blue.run('ip address add fd06::b/128 dev lo nodad');
  blue.run('ip route add 10.5.0.1/32 dev eth0 src 10.6.0.11');
  blue.run('ip -6 route add fd05::1/128 dev eth0 src fd06::b metric 1');
  for (const server of ['10.5.0.1', 'fd05::1']) {
    const host = server.includes(':') ? `[${server}]` : server;
    await inside(blue, 'busybox', 'ping', '-c1', '-W1', server).catch(() => {});
    await ask(blue, `${host}:9999`, 'A', 'web', NO_ANSWER_MS);
    await inside(blue, 'busybox', 'nc', '-w1', server, '9999').catch(() => {});
    await ask(blue, host, 'A', 'web', NO_ANSWER_MS);
  }
  const rules = red.run('nft list chain inet seen input');
  assert.equal(rules.match(/counter packets 0 bytes 0/g)?.length, FORGED.length, rules);
});

test('names are answered again when bridge or address were made again', { skip }, async (t) => {
  const { bridges, containers, tables, services } = await scene(t);
  const [blue, green] = containers;
  publish(tables[0], '10.5.0.12', 'web');
  publish(tables[1], '10.5.0.99', 'web');
  for (let round = 0; round < 2; round++) {
    bridges.run('ip link del br-1');
    bridges.run('ip link del p1');
    bridges.run('ip -6 rule del oif br-1');
    await until(() => services[0]?.trouble, { what: 'trouble' });
    assert.match(services[0]?.trouble ?? '', /^names of blue can't be answered at .* on br-1: /);
    assert.deepEqual(await ask(green, '10.5.0.1', 'A', 'web'), ['10.5.0.99']);
    makeBridge(bridges, blue, 1);
    await answering(services);
    assert.deepEqual(await ask(blue, '10.5.0.1', 'A', 'web'), ['10.5.0.12']);
  }
  bridges.run('ip address del 10.5.0.1/32 dev br-1');
  bridges.run('ip address add 10.5.0.1/32 dev br-1');
  assert.deepEqual(await ask(blue, '10.5.0.1', 'A', 'web'), ['10.5.0.12']);
  assert.deepEqual(await ask(green, '10.5.0.1', 'A', 'web'), ['10.5.0.99']);
});

test('a stop leaves no socket', { skip }, async (t) => {
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const { bridges, services } = await scene(t);
  const open = descriptors();
  const listening = (): number =>
    bridges.run('ss -Hlntu sport = :53').trim().split('\n').filter(Boolean).length;
  assert.equal(listening(), 12);
  await Promise.all(services.map((service) => service.stop()));
  assert.equal(listening(), 0);
  assert.equal(descriptors(), open - 12);
});
