import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { FastWay } from '#src/backend/fast-way.ts';
import type { FastCounts } from '#src/fast-path/map-layouts.ts';
import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { parseIpv4, parsePrefix4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { Lease } from '#src/network/lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { NetworkFastPath } from '#src/node/fast-path/network-fast-path.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { answeringWire } from '../../../test/support/answering-wire.ts';
import { writtenFiles } from '../../../test/support/written-files.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail();
const prefix = (text: string) => parsePrefix4(text) ?? assert.fail();
const MAC = parseMac('02:42:00:00:00:02') as Mac;
const LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal';

const WAY: FastWay = {
  device: 'flannel.1',
  settings: { underlay: 'eth0', vtep: ip('172.16.0.1'), mac: MAC, vni: 1, port: 8472 },
  peer: ({ name }) =>
    name === 'direct'
      ? 'it has a direct route'
      : { subnet: prefix('10.0.32.0/24'), vtep: ip('172.16.0.2'), mac: MAC },
};
const HOST: readonly KernelObject[] = [
  { kind: 'link', name: 'eth0', index: 2, up: true },
  { kind: 'link', name: 'docker0', index: 3, type: 'bridge', up: true },
  { kind: 'link', name: 'flannel.1', index: 4, type: 'vxlan', up: true },
  { kind: 'address', prefix: prefix4(ip('10.0.65.1'), 24), device: 'docker0' },
  ...veth('veth1', 11, '10.0.65.2'),
];

function veth(name: string, index: number, address: string): KernelObject[] {
  const mac = parseMac(`02:42:00:00:00:${index}`) as Mac;
  return [
    { kind: 'link', name, index, type: 'veth', master: 'docker0', peerNamespaceId: 0, up: true },
    { kind: 'neighbour', ip: ip(address), mac, device: 'docker0', permanent: false },
    { kind: 'bridge-fdb', mac, bridge: 'docker0', device: name, static: false },
  ];
}

interface Wish {
  readonly flag?: 'on' | 'off';
  /** `Backend` of the config, without its type. */
  readonly backend?: string;
  readonly way?: FastWay | string;
  readonly left?: readonly KernelObject[];
  readonly files?: Readonly<Record<string, string>>;
}

async function host(
  t: TestContext,
  { flag = 'on', backend = '', way = WAY, left = [], files: given = {} }: Wish = {},
) {
  const clock = new FakeClock();
  const kernel = new MemoryKernel(KINDS);
  for (const object of [...HOST, ...left]) kernel.interfere({ verb: 'add', object });
  const files = new Map([[LIBERAL, '0\n'], ...Object.entries(given)]);
  const locked = new Set<string>();
  const atWrite: ((path: string) => void)[] = [];
  const system = writtenFiles(files, (path) => {
    for (const look of atWrite) look(path);
    if (locked.has(path)) throw Object.assign(new Error('read-only file system'), { code: 'EROFS' });
  });
  const wire = answeringWire();
  const rules = { text: '*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT' };
  const listeners = new Set<() => void>();
  const prepared: number[] = [];
  const packets = { count: 0 };
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  const reconciler = new Reconciler(
    { actuators: [new SysctlActuator({ files: system }), kernel], clock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  await reconciler.start(stopper.signal);
  const fast = new NetworkFastPath(
    {
      ...{ reconciler, kernel, clock, log: silentLogger, random: () => 0 },
      counts: (device) => ({ [device]: packets.count }) as unknown as FastCounts,
      wireSockets: async () => wire.sockets,
      prepare: (ifindex) => prepared.push(ifindex),
      users: new FastPathUsers(system, '/note'),
      observeRules: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      readFilters: async () => ({
        iptables: [{ program: 'iptables', saved: parseIptablesSave(rules.text) }],
        nftables: [],
      }),
    },
    { name: '/net', flag },
  );
  const use = (more = backend, to: FastWay | string = way, subnet = '10.0.65.0/24') =>
    fast.use({
      config: parseNetworkConfig(`{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"${more}}}`),
      subnets: { v4: prefix(subnet) },
      backend: { type: 'vxlan', fastWay: to } as Parameters<NetworkFastPath['use']>[0]['backend'],
    });
  use();
  for (const name of ['peer', 'direct'])
    fast.peer({ name } as Lease, { fastWay: way }, { routeForm: 'flannel' });
  fast.allowRemoval();
  fast.run(stopper.signal).catch(() => {});
  const made = () => kernel.text.filter((text) => text.startsWith('fast-'));
  const settings = () => made().find((text) => text.startsWith('fast-path')) ?? '';
  const rulesChange = (line = '') => {
    rules.text = `*filter\n:FORWARD ACCEPT [0:0]\n${line}\nCOMMIT`;
    for (const listener of listeners) listener();
  };
  await clock.advance(2_000);
  return {
    clock,
    kernel,
    files,
    locked,
    atWrite,
    fast,
    use,
    made,
    settings,
    rulesChange,
    listeners,
    reconciler,
    wire,
    prepared,
    packets,
  };
}

const LEFT: KernelObject = {
  ...{ kind: 'fast-hook', set: 'flannel.1', device: 'eth0', program: 'from-wire', isCurrent: false },
};

test('off: nothing is made, and nobody listens or looks', async (t) => {
  const { clock, kernel, made, fast, listeners, files } = await host(t, { flag: 'off' });
  assert.deepEqual(made(), []);
  assert.equal(listeners.size, 0);
  assert.equal(fast.status, undefined);
  assert.equal(files.get(LIBERAL)?.trim(), '0');
  kernel.interfere({ verb: 'add', object: LEFT });
  await clock.advance(2_000);
  assert.equal(made().length, 1, 'a network that never had one does not look for it');
});

test('off: what an earlier run left goes, and the setting of TCP is put back', async (t) => {
  const { made, files } = await host(t, {
    flag: 'off',
    left: [LEFT],
    files: { '/note': '{"users":{"/net":["flannel.1"]},"value":"0"}', [LIBERAL]: '1' },
  });
  assert.deepEqual(made(), []);
  assert.equal(files.get(LIBERAL)?.trim(), '0');
  assert.equal(files.has('/note'), false);
});

test('a network that comes back on another device, or with another backend, takes away what it had', async (t) => {
  const files = { '/note': '{"users":{"/net":["flannel.1","flannel.7"]},"value":"0"}', [LIBERAL]: '1' };
  const device: KernelObject = { kind: 'link', name: 'flannel.9', index: 9, type: 'vxlan', up: true };
  const left = [LEFT, { ...LEFT, set: 'flannel.7' } as KernelObject, device];
  const other = await host(t, { way: 'the backend host-gw has none', left, files });
  assert.deepEqual(other.made(), []);
  assert.equal(other.files.has('/note'), false);
  assert.equal(other.files.get(LIBERAL)?.trim(), '0');
  const moved = await host(t, { way: { ...WAY, device: 'flannel.9' }, left, files });
  assert.ok(moved.made().length > 4);
  for (const text of moved.made()) assert.match(text, /flannel\.9/);
  assert.equal(moved.files.get('/note'), '{"users":{"/net":["flannel.9"]},"value":"0"}\n');
  // Another flanneld’s network may have the device from now on.
  moved.kernel.interfere({ verb: 'add', object: LEFT });
  await moved.clock.advance(3_000);
  assert.ok(moved.made().some((text) => text.includes('flannel.1 ')));
});

test('on: settings, peers, containers and hooks; the setting of TCP', async (t) => {
  const { made, fast, files } = await host(t);
  assert.deepEqual(
    made().map((text) => text.replace(/(?:lladdr|address) \S+ /, '')),
    [
      'fast-hook from-container of flannel.1 dev veth1 ingress',
      'fast-hook from-wire of flannel.1 dev eth0 ingress',
      'fast-hook note-in of flannel.1 dev veth1 egress',
      'fast-hook note-out of flannel.1 dev flannel.1 egress',
      'fast-local 10.0.65.2 in flannel.1 dev veth1',
      'fast-path flannel.1 via eth0 local 172.16.0.1 id 1 dstport 8472 fresh 1000 ms generation 0',
      'fast-peer 10.0.32.0/24 in flannel.1 dst 172.16.0.2',
    ],
  );
  assert.equal(files.get(LIBERAL)?.trim(), '1');
  const { state, reasons, containers, peers, slowPeers, tcp } = fast.status ?? assert.fail('no status');
  assert.deepEqual([state, reasons, containers, peers, tcp], ['on', [], 1, 1, true]);
  assert.deepEqual(slowPeers, [{ lease: 'direct', reason: 'it has a direct route' }]);
});

test('the network’s own wish comes before the node’s', async (t) => {
  const { made, use, clock, files } = await host(t, { flag: 'off', backend: ',"FastPath":"on"' });
  assert.ok(made().length > 0);
  use(',"FastPath":"off"');
  await clock.advance(2_000);
  assert.deepEqual(made(), []);
  assert.equal(files.get(LIBERAL)?.trim(), '0', 'put back');
  assert.deepEqual((await host(t, { backend: ',"FastPath":"off"' })).made(), []);
});

test('a backend without such a way says why', async (t) => {
  const { fast, made } = await host(t, { way: 'its packets are encrypted' });
  assert.deepEqual(made(), []);
  assert.deepEqual(fast.status?.state, 'refused');
  assert.deepEqual(fast.status?.reasons, ['its packets are encrypted']);
});

test('a rule that needs every packet switches it off with one write, and its end on again', async (t) => {
  const { fast, made, settings, rulesChange, clock } = await host(t);
  const before = made().length;
  rulesChange('-A FORWARD -m limit --limit 5/sec -j ACCEPT');
  await clock.advance(1_000);
  assert.match(settings(), /fresh 0 ms/);
  assert.equal(made().length, before, 'the other objects stay');
  assert.match(fast.status?.reasons.join() ?? '', /limits a rate.*chain FORWARD/);
  rulesChange();
  await clock.advance(6_000);
  assert.match(settings(), /fresh 1000 ms/);
});

test('rules that change make every flow cross them once more', async (t) => {
  const { settings, rulesChange, clock } = await host(t);
  assert.match(settings(), /generation 0/);
  for (let n = 0; n < 5; n++) rulesChange();
  await clock.advance(30);
  assert.match(settings(), /generation 1/);
});

test('a container that comes gets its hooks a moment later; one that goes loses them', async (t) => {
  const { kernel, made, clock } = await host(t);
  for (const object of veth('veth2', 12, '10.0.65.3')) kernel.interfere({ verb: 'add', object });
  await clock.advance(200);
  assert.equal(made().filter((text) => text.includes('veth2')).length, 0);
  await clock.advance(400);
  assert.equal(made().filter((text) => text.includes('veth2')).length, 3);
  kernel.interfere({ verb: 'remove', object: { kind: 'link', name: 'veth2' } });
  await clock.advance(100);
  assert.deepEqual(
    made().filter((text) => text.includes('veth2')),
    [],
  );
});

test('it is starting until all of it is in the kernel', async (t) => {
  const { fast, use, clock, atWrite } = await host(t, { flag: 'off' });
  const states = new Map<string, string | undefined>();
  atWrite.push((path) => states.set(path, fast.status?.state));
  use(',"FastPath":"on"');
  await clock.advance(2_000);
  assert.deepEqual(Object.fromEntries(states), { '/note': 'starting', [LIBERAL]: 'starting' });
  assert.equal(fast.status?.state, 'on');
});

test('a status has the packets up to now, and none while there is no fast path', async (t) => {
  const { fast, use, clock, packets } = await host(t);
  packets.count = 7;
  assert.deepEqual(fast.status?.packets, { [WAY.device]: 7 });
  packets.count = 8;
  assert.deepEqual(fast.status?.packets, { [WAY.device]: 8 });
  use('', 'another backend');
  await clock.advance(2_000);
  assert.equal(fast.status?.packets, undefined);
});

test('a device that comes is made ready at once, and not while there is no fast path', async (t) => {
  const { kernel, prepared, use, clock } = await host(t);
  assert.deepEqual(prepared, [], 'this one was there');
  const [device] = veth('veth2', 12, '10.0.65.3');
  kernel.interfere({ verb: 'add', object: device as KernelObject });
  assert.deepEqual(prepared, [12]);
  use(',"FastPath":"off"');
  await clock.advance(2_000);
  const [other] = veth('veth3', 13, '10.0.65.4');
  kernel.interfere({ verb: 'add', object: other as KernelObject });
  await clock.advance(2_000);
  assert.deepEqual(prepared, [12]);
});

test('a peer that goes, or gets a direct route, is slow', async (t) => {
  const { fast, made, clock } = await host(t);
  fast.gone('peer');
  await clock.advance(100);
  assert.equal(made().filter((text) => text.startsWith('fast-peer')).length, 0);
});

test('while somebody has to see all packets they are slow, and no longer than was asked for', async (t) => {
  const { fast, settings, clock } = await host(t);
  const why = 'weft capture sees all packets';
  const pause = async (by: string, ms: number): Promise<void> => {
    const done = fast.pause(by, why, ms);
    await clock.advance(20);
    await done;
  };
  await pause('1', 10_000);
  assert.match(settings(), /fresh 0 ms/);
  assert.deepEqual([fast.status?.state, fast.status?.reasons], ['paused', [why]]);
  await pause('2', 60_000);
  await clock.advance(20_000);
  assert.match(settings(), /fresh 0 ms/, 'the other goes on');
  await pause('2', 0);
  assert.match(settings(), /fresh 1000 ms/);
  await pause('1', 10_000);
  await clock.advance(11_000);
  assert.match(settings(), /fresh 1000 ms/, 'a command that was killed');
});

test('where there is no fast path a pause is nothing', async (t) => {
  const { fast, made } = await host(t, { flag: 'off' });
  await fast.pause('1', 'x', 1_000);
  assert.deepEqual(made(), []);
});

test('TCP stays slow where conntrack’s setting can’t be written', async (t) => {
  const { files, locked, settings, use, clock, fast } = await host(t, { flag: 'off' });
  locked.add(LIBERAL);
  use(',"FastPath":"on"');
  await clock.advance(2_000);
  assert.match(settings(), /notcp/);
  assert.deepEqual([fast.status?.state, fast.status?.tcp], ['on', false]);
  files.set(LIBERAL, '1');
  await clock.advance(2_000);
  assert.doesNotMatch(settings(), /notcp/);
});

test('a queue on the tunnel’s device refuses it', async (t) => {
  const { kernel, fast, clock, settings } = await host(t);
  kernel.interfere({
    verb: 'replace',
    object: { ...(HOST[2] as KernelObject & { kind: 'link' }), qdisc: 'tbf' },
  });
  kernel.emit({ type: 'qdisc' });
  await clock.advance(1_000);
  assert.match(settings(), /fresh 0 ms/);
  assert.deepEqual(fast.status?.reasons, ['packets wait in a queue (tbf) on flannel.1']);
});

test('with another subnet there are other containers', async (t) => {
  const { clock, kernel, made, use } = await host(t);
  const containers = () => made().filter((text) => text.startsWith('fast-local'));
  assert.match(containers().join(), /10\.0\.65\.2/);
  const address = { kind: 'address', prefix: prefix4(ip('10.0.66.1'), 24), device: 'docker0' } as const;
  for (const object of [address, ...veth('veth2', 12, '10.0.66.2')])
    kernel.interfere({ verb: 'add', object });
  use('', WAY, '10.0.66.0/24');
  await clock.advance(2_000);
  assert.equal(containers().length, 1);
  assert.match(containers().join(), /10\.0\.66\.2/);
});

test('a peer that gets only datagrams with a checksum stays slow until it gets the others', async (t) => {
  const { clock, made, fast, wire } = await host(t);
  const peers = () => made().filter((text) => text.startsWith('fast-peer')).length;
  await clock.advance(5_000);
  assert.equal(peers(), 1);
  assert.deepEqual(fast.status?.slowPeers, [{ lease: 'direct', reason: 'it has a direct route' }]);
  wire.bare = () => false;
  // Seldom: the wire was good.
  await clock.advance(620_000);
  assert.equal(peers(), 0);
  assert.match(
    fast.status?.slowPeers.map(({ lease, reason }) => `${lease}: ${reason}`).join() ?? '',
    /peer: .*checksum/,
  );
  assert.equal(fast.status?.peers, 0);
  wire.bare = () => true;
  await clock.advance(70_000);
  assert.equal(peers(), 1);
  assert.equal(fast.status?.peers, 1);
});
