import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { formatPrefix, type Prefix4, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { readHostFacts } from '#src/node/underlay/host-facts.ts';
import { formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';
import { readUnderlayFlags, type UnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { UnderlayFollower } from '#src/node/underlay-follower.ts';
import { type KernelObject, RTPROT_BOOT } from '#src/state/object.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const address = (device: string, text: string): KernelObject => ({
  kind: 'address',
  device,
  prefix: prefix(text),
});
const link = (name: string, mtu = 1500): KernelObject => ({ kind: 'link', name, up: true, mtu });
const defaultRoute = (device: string, via: string, metric = 0): KernelObject => ({
  kind: 'route',
  destination: prefix('0.0.0.0/0'),
  type: 'unicast',
  via: parseIp(via) ?? assert.fail(via),
  device,
  onlink: false,
  metric,
  protocol: RTPROT_BOOT,
  scope: 0,
});

/** In small steps: a look takes several turns of the event loop, and may sleep again after it. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    await clock.advance(Math.min(left, STEP_MS));
    for (let turns = 0; turns < 10; turns++) await clock.advance(0);
  }
}
const STEP_MS = 50;

const NO_FLAGS: UnderlayFlags = {
  iface: [],
  ifaceRegex: [],
  ifaceCanReach: '',
  publicIp: '',
  publicIpv6: '',
};

/** A host with eth0 and its default route, and a follower on it; what it reported, in order. */
async function follow(flags: Partial<UnderlayFlags> = {}) {
  const kernel = new MemoryKernel();
  const clock = new FakeClock();
  const stopper = new AbortController();
  const add = (...objects: KernelObject[]): void => {
    for (const object of objects) kernel.interfere({ verb: 'add', object });
  };
  const remove = (...objects: KernelObject[]): void => {
    for (const object of objects) kernel.interfere({ verb: 'remove', object });
  };
  add(link('eth0'), address('eth0', '172.16.70.191/24'), defaultRoute('eth0', '172.16.70.1'));
  const selection = await readUnderlayFlags({ ...NO_FLAGS, ...flags });
  const reports: string[] = [];
  const counts = { looks: 0, atOnce: 0, mostAtOnce: 0, routeReads: 0 };
  const hooks: { move: (to: Underlay) => Promise<void>; read: () => Promise<void> } = {
    move: async () => {},
    read: async () => {},
  };
  const watched = {
    routeTo: kernel.routeTo.bind(kernel),
    async links() {
      counts.looks++;
      counts.mostAtOnce = Math.max(counts.mostAtOnce, ++counts.atOnce);
      await hooks.read();
      return kernel.links();
    },
    async dump(query: Parameters<MemoryKernel['dump']>[0]) {
      if (query.kinds.includes('route')) counts.routeReads++;
      const found = await kernel.dump(query);
      if (query.kinds.includes('address')) counts.atOnce--;
      return found;
    },
  };
  const listeners = new Set<Parameters<MemoryKernel['monitor']>[0]>();
  await kernel.monitor((event) => {
    for (const listener of listeners) listener(event);
  }, stopper.signal);
  const follower = new UnderlayFollower(
    {
      kernel: watched,
      clock,
      log: silentLogger,
      observe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    {
      selection,
      underlay: chooseUnderlay(selection, await readHostFacts(kernel, selection)),
      subnets: { v4: prefix('10.5.26.0/24') as Prefix4 },
      async onMove(to) {
        const networks = to.prefixes.map(formatPrefix).join(' ');
        reports.push(`moved to ${to.name} ${formatAddresses(to.address)} mtu ${to.mtu} in ${networks}`);
        await hooks.move(to);
      },
      onGone: (why) => reports.push(`gone: ${why.split(': ')[0]}`),
      async onSame() {
        reports.push('same');
      },
    },
  );
  const ended = follower.follow(stopper.signal);
  ended.catch(() => {});
  await pass(clock, 1_000);
  return { kernel, clock, stopper, add, remove, reports, counts, hooks, follower, ended, listeners };
}

test('a VPN’s default route and a renewal of the address change nothing', async () => {
  const { add, reports, clock, follower } = await follow();
  add(link('tun0'), address('tun0', '10.8.0.2/24'), defaultRoute('tun0', '10.8.0.1', 1));
  add(address('eth0', '172.16.70.191/24'));
  await pass(clock, 20_000);
  assert.deepEqual(reports, ['same']);
  assert.equal(follower.underlay.name, 'eth0');
  assert.equal(follower.trouble, undefined);
});

test('a renumbering that gets its route a second later is followed, and is a trouble meanwhile', async () => {
  const { add, remove, reports, clock, follower } = await follow();
  remove(defaultRoute('eth0', '172.16.70.1'), address('eth0', '172.16.70.191/24'));
  await pass(clock, 1_000);
  assert.match(follower.trouble ?? '', /^the underlay address 172\.16\.70\.191 is gone from eth0: /);
  add(address('eth0', '172.16.71.5/24'));
  await pass(clock, 1_000);
  add(defaultRoute('eth0', '172.16.71.1'));
  await pass(clock, 1_000);
  assert.deepEqual(reports, [
    'gone: the underlay address 172.16.70.191 is gone from eth0',
    'moved to eth0 172.16.71.5 mtu 1500 in 172.16.71.0/24',
    // The gateway is part of the place.
    'moved to eth0 172.16.71.5 mtu 1500 in 172.16.71.0/24',
  ]);
  assert.equal(follower.trouble, undefined);
});

test('a card that comes back after a long time is taken at once', async () => {
  const { add, remove, reports, clock, follower } = await follow();
  remove(link('eth0'));
  await pass(clock, 45_000);
  assert.match(follower.trouble ?? '', /^the underlay interface eth0 is gone: /);
  add(link('eth0'), address('eth0', '172.16.70.191/24'), defaultRoute('eth0', '172.16.70.1'));
  await pass(clock, 250);
  assert.deepEqual(reports, ['gone: the underlay interface eth0 is gone', 'same']);
  assert.equal(follower.trouble, undefined);
});

test('another interface is taken when the lost one does not come back soon, and kept', async () => {
  const { add, remove, reports, clock, follower } = await follow();
  add(link('eth1'), address('eth1', '192.0.2.7/24'), defaultRoute('eth1', '192.0.2.1', 9));
  await pass(clock, 1_000);
  // The kernel removes the address and the routes of a device that goes.
  remove(link('eth0'));
  await pass(clock, 4_000);
  assert.equal(follower.underlay.name, 'eth0');
  assert.equal(follower.trouble, 'the underlay interface eth0 is gone');
  await pass(clock, 2_000);
  add(link('eth0'), address('eth0', '172.16.70.191/24'), defaultRoute('eth0', '172.16.70.1'));
  await pass(clock, 20_000);
  assert.deepEqual(reports, [
    // The second uplink's default route was news.
    'same',
    'gone: the underlay interface eth0 is gone',
    'moved to eth1 192.0.2.7 mtu 1500 in 192.0.2.0/24',
    'same',
    'same',
  ]);
  assert.equal(follower.underlay.name, 'eth1');
});

test('a DHCP client that is restarted under a VPN does not move the overlay into the VPN', async () => {
  const { add, remove, reports, clock } = await follow();
  add(link('tun0'), address('tun0', '10.8.0.2/24'), defaultRoute('tun0', '10.8.0.1', 1));
  remove(address('eth0', '172.16.70.191/24'));
  await pass(clock, 3_000);
  add(address('eth0', '172.16.70.191/24'));
  await pass(clock, 20_000);
  assert.deepEqual(reports, ['gone: the underlay address 172.16.70.191 is gone from eth0', 'same']);
});

test('a new MTU and another network on the interface are moves', async () => {
  const { add, kernel, reports, clock } = await follow();
  kernel.interfere({ verb: 'set', object: link('eth0', 1400) });
  await pass(clock, 1_000);
  add(address('eth0', '10.5.7.1/24'));
  await pass(clock, 1_000);
  assert.deepEqual(reports, [
    'moved to eth0 172.16.70.191 mtu 1400 in 172.16.70.0/24',
    'moved to eth0 172.16.70.191 mtu 1400 in 172.16.70.0/24 10.5.7.0/24',
  ]);
});

test('what changed between the choice and the first look is found', async () => {
  const { follower, clock, kernel, ended, stopper } = await follow();
  stopper.abort();
  await ended.catch(() => {});
  kernel.interfere({ verb: 'set', object: link('eth0', 1400) });
  const again = new AbortController();
  const running = follower.follow(again.signal);
  running.catch(() => {});
  await pass(clock, 100);
  assert.equal(follower.underlay.mtu, 1400);
  again.abort();
});

test('looks do not overlap, and events during a look lead to one more', async () => {
  const { add, counts, hooks, clock } = await follow();
  const gate = Promise.withResolvers<void>();
  hooks.read = () => gate.promise;
  const before = counts.looks;
  add(address('eth0', '10.5.7.1/24'));
  await pass(clock, 1_000);
  for (const last of [2, 3, 4]) add(address('eth0', `10.5.7.${last}/24`));
  await pass(clock, 1_000);
  assert.equal(counts.looks, before + 1);
  gate.resolve();
  await pass(clock, 10_000);
  assert.equal(counts.looks, before + 2);
  assert.equal(counts.mostAtOnce, 1);
});

test('a move that fails is tried again, with a trouble until it is done', async () => {
  const { kernel, reports, hooks, clock, follower } = await follow();
  hooks.move = async () => {
    throw new Error('the device is busy');
  };
  kernel.interfere({ verb: 'set', object: link('eth0', 1400) });
  await pass(clock, 500);
  assert.equal(follower.trouble, 'the underlay could not be followed: the device is busy');
  assert.equal(follower.underlay.mtu, 1500);
  hooks.move = async () => {};
  await pass(clock, 1_500);
  assert.equal(reports.length, 2);
  assert.equal(follower.underlay.mtu, 1400);
  assert.equal(follower.trouble, undefined);
});

test('events of other interfaces, and of other routes, cost nothing while the underlay is there', async () => {
  const { add, counts, clock } = await follow();
  const before = { ...counts };
  add(link('veth1'), address('veth1', '10.5.26.1/24'));
  add({ ...defaultRoute('veth1', '10.5.26.1'), destination: prefix('10.5.27.0/24') } as KernelObject);
  await pass(clock, 10_000);
  assert.deepEqual(counts, before);
});

test('the route table is read only when its answer is needed', async () => {
  const { add, counts, clock } = await follow();
  const before = counts.routeReads;
  add(address('eth0', '172.16.70.191/24'));
  await pass(clock, 1_000);
  assert.equal(counts.routeReads, before);
  add(defaultRoute('eth0', '172.16.70.2', 5));
  await pass(clock, 1_000);
  assert.equal(counts.routeReads, before + 1);
});

test('it ends with its signal, after the move under way, and leaves no timer and no listener', async () => {
  const { kernel, hooks, clock, stopper, ended, listeners } = await follow();
  const gate = Promise.withResolvers<void>();
  hooks.move = () => gate.promise;
  kernel.interfere({ verb: 'set', object: link('eth0', 1400) });
  await pass(clock, 500);
  let hasEnded = false;
  const end = ended.catch((reason: unknown) => {
    hasEnded = true;
    assert.equal(reason, stopper.signal.reason);
  });
  stopper.abort();
  await pass(clock, 100);
  assert.equal(hasEnded, false);
  gate.resolve();
  await end;
  assert.equal(clock.sleeping.length, 0);
  assert.equal(listeners.size, 0);
});
