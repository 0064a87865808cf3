import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseDevices, type DeviceChoice, presentDevices } from '#src/driver/choose-devices.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { until } from '#src/sys/until.ts';
import { type DriverHost, driverHost, id } from '../../test/support/driver-host.ts';

/*
 * Hosts with containers of the network blue, VNI 70001; kernels, books and the registry are in memory. The kernel in memory
 * can do all that shared devices need.
 */
const PLACE = { vtep: ipv4(0xac1046bf), local: ipv4(0xac1046bf), mtu: 1_500, port: 8_473 };
const SHARED: DeviceChoice = { kind: 'shared', places: new Map(), held: [] };
const devicesOf = ({ text }: MemoryKernel): string[] =>
  text.flatMap((line) => /^link ((?:br|vx)-\S+)/.exec(line)?.[1] ?? []).sort();
const SHARED_DEVICES = ['br-70001', 'br-all', 'vx-all'];

test('with shared devices a tenant is a VLAN, and entries name it', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const one = await driverHost(t, { n: 1, folders, firstDevices: SHARED });
  const two = await driverHost(t, { n: 2, folders });
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await two.createNetwork();
  await one.run(1, '10.5.0.11');
  await two.run(2, '10.5.0.12');
  const seen = (line: string) =>
    until(() => one.kernel.text.some((text) => text.startsWith(line)), { what: line });
  await seen('fdb 02:42:0a:05:00:0c dev vx-all dst 172.16.70.192');
  await seen('neighbour 10.5.0.12 lladdr 02:42:0a:05:00:0c dev br-70001');
  await seen('bridge-vlan dev vx-all vid 1 tunnel_info id 70001');
  await seen('bridge-vlan dev p0000000100000 vid 1 pvid untagged');
  await seen('vni dev vx-all vni 70001');
  assert.deepEqual(devicesOf(one.kernel), SHARED_DEVICES);
});

test('the next run finds the VLAN of each container and changes nothing', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const [kernel, files] = [new MemoryKernel(), new Map<string, string>()];
  const one = await driverHost(t, { n: 1, folders, kernel, files, firstDevices: SHARED });
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await one.run(1);
  await one.stop();
  const before = [kernel.text, kernel.history.length];
  const again = await driverHost(t, { n: 1, folders, kernel, files });
  await again.present.get('blue')?.addresses.isListed;
  assert.deepEqual([kernel.text, kernel.history.length], before);
});

const isRunning = ({ kernel }: DriverHost): boolean =>
  kernel.text.some((line) => line.startsWith('link p0000000100000 ') && line.includes('master br-70001'));

test('a host that has devices for each network keeps them under its containers, and shares the next', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const [kernel, files] = [new MemoryKernel(), new Map<string, string>()];
  const clock = new FakeClock({ epoch: Date.now() });
  const former = await driverHost(t, { n: 1, folders, kernel, files });
  await former.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await former.run(1);
  await former.stop();
  const before = kernel.history.length;
  // The new version, or one for a kernel that can do more.
  const chooseAgain = () => chooseDevices(kernel, PLACE);
  const host = await driverHost(t, { n: 1, folders, kernel, files, clock, chooseAgain });
  await host.present.get('blue')?.addresses.isListed;
  assert.deepEqual([kernel.history.length, isRunning(host)], [before, true]);
  const stop = new AbortController();
  const tidying = host.present.tidyAtInterval(stop.signal).catch(() => {});
  await clock.advance(120_000);
  assert.ok(isRunning(host));
  await host.networks.deleteEndpoint({ networkId: id(0xb001), endpointId: id(1) });
  await host.present.get('blue')?.release(ipv4(0x0a050002));
  await until(
    async () => {
      await clock.advance(10_000);
      return devicesOf(kernel).length === 0;
    },
    { what: 'end of the former devices' },
  );
  await host.createNetwork();
  await host.run(2);
  assert.deepEqual(devicesOf(kernel), SHARED_DEVICES);
  stop.abort();
  await tidying;
});

test('a trial that was killed is no device of a segment, and the next trial removes it', async () => {
  const kernel = new MemoryKernel();
  for (const name of ['br-try', 'vx-try'])
    kernel.interfere({ verb: 'add', object: { kind: 'link', name, type: 'bridge' } });
  assert.equal(await presentDevices(kernel), undefined);
  const choice = await chooseDevices(kernel, PLACE);
  assert.deepEqual(choice, SHARED);
  assert.deepEqual(kernel.text, []);
});

const REFUSING = [
  ['no bridge that filters VLANs', /^ip link add br-try/],
  ['no vnifilter', /^ip link add vx-try/],
  ['no VNIs of its own', /^bridge vni add/],
] as const;
for (const [what, command] of REFUSING) {
  test(`a kernel with ${what} has a device for each network`, async () => {
    const kernel = new MemoryKernel();
    kernel.refuseAlways = (text) => (command.test(text) ? 'EOPNOTSUPP' : undefined);
    const choice = await chooseDevices(kernel, PLACE);
    assert.equal(choice.kind, 'own');
    assert.deepEqual(kernel.text, []);
  });
}
