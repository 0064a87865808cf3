import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { monitorNftables, type NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { formatObject } from '#src/state/object.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { patience, until } from '#src/sys/until.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace: u0 192.0.2.1/24 ─ u1, and flannel.1 over u0. Others' hands are iproute2 and nft.
 */
const skip = cannotRun();
const PATIENCE_MS = 10_000 * patience();

const textOf = (event: KernelEvent): string => {
  if (event.type === 'netconf') return `netconf ${event.family} ${event.device}`;
  if (event.type !== 'changed' && event.type !== 'removed') return event.type;
  return `${event.type} ${event.object.kind} ${formatObject(event.object)}`;
};

interface Watched {
  readonly namespace: ScratchNamespace;
  readonly kernel: RtnetlinkKernel;
  readonly events: KernelEvent[];
  /** Resolves when an event's text matches. */
  seen(pattern: RegExp): Promise<void>;
}

async function watched(t: TestContext, eventBuffer?: number): Promise<Watched> {
  const namespace = scratchNamespace(t);
  namespace.run('ip link add flannel.1 type vxlan id 1 dev u0 local 192.0.2.1 dstport 8472 nolearning');
  namespace.run('ip address add 10.5.26.0/32 dev flannel.1');
  namespace.run('ip link set flannel.1 up');
  const kernel = new RtnetlinkKernel(
    { netlink: systemNetlink },
    { namespace: namespace.path, ...(eventBuffer !== undefined && { eventBuffer }) },
  );
  t.after(() => kernel.close());
  const events: KernelEvent[] = [];
  await kernel.monitor((event) => events.push(event), t.signal);
  const seen = async (pattern: RegExp) => {
    const until = Date.now() + PATIENCE_MS;
    while (!events.some((event) => pattern.test(textOf(event)))) {
      assert.ok(Date.now() < until, `no ${pattern} in:\n${events.map(textOf).join('\n')}`);
      await delay(5);
    }
  };
  return { namespace, kernel, events, seen };
}

const CHANGES: readonly (readonly [command: string, event: RegExp])[] = [
  ['ip link set flannel.1 mtu 1300', /^changed link flannel\.1 .*mtu 1300 type vxlan id 1 dev u0/],
  ['ip link set u0 down', /^changed link u0 /],
  ['ip link set u0 up', /^changed link u0 /],
  ['ip address add 10.5.27.0/32 dev flannel.1', /^changed address 10\.5\.27\.0\/32 dev flannel\.1$/],
  ['ip address del 10.5.27.0/32 dev flannel.1', /^removed address 10\.5\.27\.0\/32 dev flannel\.1$/],
  ['ip -6 address add fd00:5::/128 dev flannel.1 nodad', /^changed address fd00:5::\/128 dev flannel\.1$/],
  [
    'ip route add 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink',
    /^changed route 10\.5\.9\.0\/24 via 10\.5\.9\.0 dev flannel\.1 onlink$/,
  ],
  ['ip route del 10.5.9.0/24', /^removed route 10\.5\.9\.0\/24 via/],
  ['ip -6 route add fd00:9::/64 dev flannel.1', /^changed route fd00:9::\/64 dev flannel\.1 metric 1024$/],
  ['ip -6 route del fd00:9::/64', /^removed route fd00:9::\/64/],
  [
    'ip neigh add 10.5.9.0 lladdr 82:4b:b6:2f:54:4e dev flannel.1 nud permanent',
    /^changed neighbour 10\.5\.9\.0 lladdr 82:4b:b6:2f:54:4e dev flannel\.1 nud permanent$/,
  ],
  ['ip neigh del 10.5.9.0 dev flannel.1', /^removed neighbour 10\.5\.9\.0 /],
  [
    'bridge fdb add 82:4b:b6:2f:54:4e dev flannel.1 dst 192.0.2.9 self permanent',
    /^changed fdb 82:4b:b6:2f:54:4e dev flannel\.1 dst 192\.0\.2\.9 self permanent$/,
  ],
  ['bridge fdb del 82:4b:b6:2f:54:4e dev flannel.1 dst 192.0.2.9', /^removed fdb 82:4b:b6:2f:54:4e/],
  ['sysctl -qw net.ipv4.conf.u0.rp_filter=2', /^netconf 4 u0$/],
  ['sysctl -qw net.ipv4.ip_forward=1', /^netconf 4 all$/],
  ['sysctl -qw net.ipv6.conf.all.forwarding=1', /^netconf 6 all$/],
  ['ip rule add to 10.9.0.0/16 lookup 99', /^policy$/],
  ['ip route add blackhole 10.9.0.0/16 table 99', /^policy$/],
  ['ip -6 rule del lookup main', /^policy$/],
  ['ip link set flannel.1 down', /^changed link flannel\.1 /],
  ['ip link set flannel.1 name other0', /^changed link other0 /],
  ['ip link del other0', /^removed link other0 /],
];

test('every change of another program is reported', { skip }, async (t) => {
  const { namespace, events, seen } = await watched(t);
  for (const [command, event] of CHANGES) {
    events.length = 0;
    namespace.run(command);
    await seen(event);
  }
});

test('a muffled device’s routes are reported, and its neighbours and forwarding entries again afterwards', {
  skip,
}, async (t) => {
  const { kernel, namespace, events, seen } = await watched(t);
  const neighbour = 'ip neigh replace 10.5.9.0 lladdr 82:4b:b6:2f:54:4e dev flannel.1 nud permanent';
  const route = 'ip route add 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink';
  const unmuffle = await kernel.muffle(['flannel.1']);
  namespace.run(neighbour);
  namespace.run('bridge fdb add 82:4b:b6:2f:54:4e dev flannel.1 dst 192.0.2.9 self permanent');
  namespace.run('ip neigh replace 192.0.2.77 lladdr 82:4b:b6:2f:54:4e dev u0 nud permanent');
  namespace.run(route);
  await seen(/^changed route/);
  assert.deepEqual(
    // Devices, addresses and routes change by themselves while IPv6 comes up.
    events.map(textOf).filter((event) => /^\w+ (neighbour|fdb) /.test(event)),
    ['changed neighbour 192.0.2.77 lladdr 82:4b:b6:2f:54:4e dev u0 nud permanent'],
    'the other device is heard',
  );
  unmuffle();
  namespace.run('ip neigh del 10.5.9.0 dev flannel.1');
  await seen(/^removed neighbour/);
});

test('objects on a device are reported by the device’s name while the device goes', { skip }, async (t) => {
  const { namespace, seen } = await watched(t);
  namespace.rename('flannel.1', 'other0');
  namespace.run('ip neigh add 10.5.9.0 lladdr 82:4b:b6:2f:54:4e dev other0 nud permanent');
  await seen(/^changed neighbour/);
  namespace.run('ip link del other0');
  await seen(/^removed link other0/);
  await seen(/^removed neighbour .* dev other0/);
});

test('the echo of own routes and neighbours is left out; the same by another hand is not', {
  skip,
}, async (t) => {
  const { namespace, kernel, events, seen } = await watched(t);
  const route = (index: number) =>
    ({
      kind: 'route',
      destination: prefix4(ipv4(0x0a060000 + index * 256), 24),
      type: 'unicast',
      via: ipv4(0x0a060000 + index * 256),
      device: 'flannel.1',
      onlink: true,
      metric: 0,
      protocol: 3,
      scope: 0,
    }) as const;
  await kernel.apply([{ verb: 'add', object: route(1) }]);
  namespace.run('ip route add 10.6.2.0/24 via 10.6.2.0 dev flannel.1 onlink');
  await seen(/10\.6\.2\.0\/24/);
  assert.deepEqual(
    events.map(textOf).filter((text) => text.includes('10.6.1.0')),
    [],
  );
  await kernel.apply([{ verb: 'set', object: { kind: 'link', name: 'flannel.1', mtu: 1234 } }]);
  await seen(/^changed link flannel\.1 .*mtu 1234/);
});

/** Commands in iproute2's batch form, in a file of the test's own. */
function batchFile(t: TestContext, commands: readonly string[]): string {
  const folder = scratchFolder(t);
  const path = join(folder, 'batch');
  writeFileSync(path, commands.map((command) => command.replace(/^ip /, '')).join('\n'));
  return path;
}

test('an overrun is reported, and events go on after it', { skip }, async (t) => {
  const { namespace, kernel, events, seen } = await watched(t, 4096);
  const lines = Array.from({ length: 3_000 }, (_, index) => {
    const net = `10.${64 + (index >> 8)}.${index & 255}.0`;
    return `ip route add ${net}/24 via ${net} dev flannel.1 onlink`;
  });
  // In one synchronous step, so that nothing is read meanwhile.
  namespace.run(`ip -batch ${batchFile(t, lines)}`);
  await seen(/^overrun$/);
  // What comes while the rest is read may be lost as well.
  const isHeard = (): boolean =>
    events.some((event) => /^changed link flannel\.1 .*mtu 13/.test(textOf(event)));
  let mtu = 1300;
  await until(
    () => {
      if (!isHeard()) namespace.run(`ip link set flannel.1 mtu ${++mtu}`);
      return isHeard();
    },
    { what: 'event after the overrun', timeoutMs: 10_000 },
  );
  const found = await kernel.dump({ kinds: ['route'], device: 'flannel.1' });
  assert.ok(found.length >= 3_000);
});

test('nothing is reported after the signal', { skip }, async (t) => {
  const { namespace, kernel, seen } = await watched(t);
  const stop = new AbortController();
  const events: KernelEvent[] = [];
  await kernel.monitor((event) => events.push(event), stop.signal);
  stop.abort();
  namespace.run('ip link set flannel.1 mtu 1302');
  // Another monitor shows that the event has come.
  await seen(/^changed link flannel\.1 .*mtu 1302/);
  await setImmediate();
  assert.deepEqual(events, []);
  await assert.rejects(
    kernel.monitor(() => {}, stop.signal),
    { name: 'AbortError' },
  );
});

test('a change of the nftables ruleset is reported with the program that made it', {
  skip: cannotRun('nft'),
}, async (t) => {
  const namespace = scratchNamespace(t);
  const changes: NftablesEvent[] = [];
  await monitorNftables(
    { netlink: systemNetlink, clock: systemClock },
    { namespace: namespace.path },
    (event) => changes.push(event),
    t.signal,
  );
  namespace.run('nft add table ip weft-test');
  namespace.run('nft flush ruleset');
  const until = Date.now() + PATIENCE_MS;
  while (changes.length < 2) {
    assert.ok(Date.now() < until, `only ${changes.length} changes`);
    await delay(5);
  }
  assert.deepEqual(
    changes.map((change) => change.type === 'changed' && change.program),
    ['nft', 'nft'],
  );
});

for (const manner of ['abort', 'exit', 'throw', 'close', 'idle'] as const) {
  test(`a process with a monitor ends cleanly by: ${manner}`, { skip }, async (t) => {
    const namespace = scratchNamespace(t);
    const child = fork(new URL('../support/monitor-process.ts', import.meta.url), [namespace.path, manner], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      signal: t.signal,
      // The child compiles its sources first.
      timeout: 3 * PATIENCE_MS,
      killSignal: 'SIGKILL',
    });
    const [code, signal] = await once(child, 'exit');
    assert.deepEqual([code, signal], [manner === 'throw' ? 1 : 0, null]);
  });
}
