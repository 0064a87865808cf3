import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { AddressAdmin } from '#src/driver/address-admin.ts';
import { formatIp, parseIp } from '#src/lib/ip.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { until } from '#src/sys/until.ts';
import { type DriverHost, driverHost, id } from '../../test/support/driver-host.ts';

/*
 * Hosts 1 … n with the network blue, 10.5.0.0/24, over one registry; kernels in memory.
 */
async function hosts(t: TestContext, count: number, hearsDocker = false) {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const all: DriverHost[] = [];
  for (let n = 1; n <= count; n++) all.push(await driverHost(t, { n, folders, hearsDocker }));
  await all[0]?.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  for (const host of all.slice(1)) await host.createNetwork();
  return { folders, hosts: all as [DriverHost, DriverHost, ...DriverHost[]] };
}

const has = ({ kernel }: DriverHost, text: string): boolean => kernel.text.includes(text);
const seen = (host: DriverHost, text: string, is = true): Promise<unknown> =>
  until(() => has(host, text) === is, {
    what: `${is ? '' : 'end of '}${text} in ${host.kernel.text.join('\n')}`,
  });

const MAC = '02:42:0a:05:00:0b';
const TO_1 = `fdb ${MAC} dev vx-70001 dst 172.16.70.191 self permanent`;
const TO_2 = `fdb ${MAC} dev vx-70001 dst 172.16.70.192 self permanent`;
const ARP = `neighbour 10.5.0.11 lladdr ${MAC} dev br-70001 nud permanent`;

test('a container that starts is in the kernels of the hosts that have the network in use, and of no other', async (t) => {
  const { hosts: all } = await hosts(t, 3);
  const [one, two, three] = all;
  await two.run(2);
  assert.equal(await one.run(1, '10.5.0.11'), '10.5.0.11');
  await seen(two, TO_1);
  await seen(two, ARP);
  assert.ok(
    has(one, `bridge-fdb ${MAC} dev p0000000100000 master br-70001 static`),
    one.kernel.text.join('\n'),
  );
  assert.deepEqual(three?.kernel.text, []);
});

test('a container that stops here and starts there keeps its MAC, and the others follow', async (t) => {
  const { hosts: all } = await hosts(t, 3, true);
  const [one, two, three] = all;
  await three?.run(3);
  await one.run(1, '10.5.0.11');
  await seen(three as DriverHost, TO_1);
  await one.remove(1, '10.5.0.11');
  await seen(three as DriverHost, TO_1, false);
  assert.ok(has(three as DriverHost, ARP), 'its address is still answered for: TCP waits');
  await two.run(2, '10.5.0.11');
  assert.ok(
    !has(two, `bridge-fdb ${MAC} dev p0000000200000 master br-70001 static`),
    'before its process runs',
  );
  await two.networks.activate(id(2), id(77), ['web', 'shop']);
  await seen(three as DriverHost, TO_2);
  await seen(two, `bridge-fdb ${MAC} dev p0000000200000 master br-70001 static`);
  const record = three?.present.get('blue')?.addresses.get(parseIp('10.5.0.11') as never);
  assert.deepEqual(record?.names, ['web', 'shop']);
});

test('two hosts that ask for one address at once: one gets it, the other a reason', async (t) => {
  const { hosts: all } = await hosts(t, 2);
  const outcomes = await Promise.allSettled(all.map((host, n) => host.run(n + 1, '10.5.0.11')));
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const rejected = outcomes.find((outcome) => outcome.status === 'rejected');
  assert.match(String(rejected?.reason), /10\.5\.0\.11 is held on host host[12]/);
});

test('a hundred containers at once on two hosts have a hundred addresses', async (t) => {
  const { hosts: all } = await hosts(t, 2);
  const got = await Promise.all(Array.from({ length: 100 }, (_, n) => all[n % 2]?.run(n + 1)));
  assert.equal(new Set(got).size, 100);
});

test('a store that loses everything gets it back, and gives nothing in use away', async (t) => {
  const { hosts: all, folders } = await hosts(t, 2);
  const [one, two] = all;
  await one.run(1, '10.5.0.11');
  await two.run(2, '10.5.0.12');
  const records = folders.folder('tenants/addresses/blue');
  const signal = AbortSignal.timeout(60_000);
  await seen(two, TO_1);
  for (const record of (await records.list(signal)).records) await records.remove(record, signal);
  assert.ok(has(two, TO_1), 'traffic goes on');
  await until(async () => (await records.list(signal)).records.length === 2, { what: 'both records again' });
  await assert.rejects(two.run(3, '10.5.0.11'), /is held|was lost/);
});

test('an address that another host has taken is cut off here, without a comparison of all', async (t) => {
  const { hosts: all, folders } = await hosts(t, 2);
  const [one, two] = all;
  await one.run(1, '10.5.0.11');
  await two.run(2);
  const records = folders.folder('tenants/addresses/blue');
  const signal = AbortSignal.timeout(60_000);
  const record = await records.read('10.5.0.11', signal);
  assert.ok(record);
  const { checks } = one.reconciler.status;
  await records.replace(
    record,
    record.value.replaceAll('host1', 'host2').replaceAll('.191', '.192'),
    undefined,
    signal,
  );
  await until(() => one.present.get('blue')?.segment?.silenced.size === 1, { what: 'silence' });
  await seen(one, TO_2);
  await one.reconciler.settled();
  assert.equal(one.reconciler.status.checks, checks);
});

/** What `weft address move` writes. */
async function handOver(folders: MemoryRecordFolders, to: string | undefined): Promise<void> {
  const records = folders.folder('tenants/addresses/blue');
  const signal = AbortSignal.timeout(60_000);
  const record = await records.read('10.5.0.11', signal);
  assert.ok(record);
  const { to: _, ...fields } = JSON.parse(record.value) as Record<string, unknown>;
  const value = JSON.stringify({ ...fields, ...(to !== undefined && { to }) });
  assert.equal((await records.replace(record, value, undefined, signal)).outcome, 'written');
}

async function stored(folders: MemoryRecordFolders): Promise<Record<string, unknown>> {
  const records = folders.folder('tenants/addresses/blue');
  const record = await records.read('10.5.0.11', AbortSignal.timeout(60_000));
  return JSON.parse(record?.value ?? '{}') as Record<string, unknown>;
}

const addressOn = ({ present }: DriverHost) =>
  present.get('blue')?.addresses.get(parseIp('10.5.0.11') as never);

test('an address that is handed over is its host’s until the container runs on the other one', async (t) => {
  const { hosts: all, folders } = await hosts(t, 3, true);
  const [one, two, third] = all;
  const three = third as DriverHost;
  await three.run(3);
  await one.run(1, '10.5.0.11');
  await two.run(4);
  await seen(three, TO_1);
  await handOver(folders, 'host2');
  await until(() => addressOn(two)?.to === 'host2', { what: 'the handover on host 2' });
  await assert.rejects(three.run(5, '10.5.0.11'), /is held on host host1/);
  assert.equal(await two.run(2, '10.5.0.11'), '10.5.0.11');
  await assert.rejects(two.run(6, '10.5.0.11'), /another container of this host takes over 10\.5\.0\.11/);
  assert.deepEqual([(await stored(folders)).host, (await stored(folders)).to], ['host1', 'host2']);
  assert.ok(has(two, TO_1), 'frames still go to host 1');
  assert.equal(two.present.get('blue')?.segment?.silenced.size, 0);
  await two.networks.activate(id(2), id(77), ['web']);
  await seen(three, TO_2);
  await seen(two, `bridge-fdb ${MAC} dev p0000000200000 master br-70001 static`);
  assert.ok(!has(two, TO_1));
  await seen(one, TO_2);
  await seen(
    one,
    'bridge-port dev vx-70001 learning off neigh_suppress on flood off mcast_flood off bcast_flood off locked off hairpin on isolated off',
  );
  assert.equal(one.present.get('blue')?.segment?.silenced.size, 1);
  await one.remove(1, '10.5.0.11');
  const { host, state, to } = await stored(folders);
  assert.deepEqual([host, state, to], ['host2', 'published', undefined]);
});

test('an address that is handed over and not taken stays where it is', async (t) => {
  const { hosts: all, folders } = await hosts(t, 2, true);
  const [one, two] = all;
  await one.run(1, '10.5.0.11');
  await two.run(4);
  await handOver(folders, 'host2');
  await until(() => addressOn(two)?.to === 'host2', { what: 'the handover on host 2' });
  await two.run(2, '10.5.0.11');
  await two.remove(2, '10.5.0.11');
  await until(() => two.book.state.addresses.blue?.['10.5.0.11'] === undefined, { what: 'the end of it' });
  assert.deepEqual([(await stored(folders)).host, (await stored(folders)).state], ['host1', 'published']);
  // What its host writes for another reason leaves the handover as it is.
  await one.networks.activate(id(1), id(78), ['shop']);
  await until(async () => JSON.stringify((await stored(folders)).names) === '["shop"]', { what: 'its name' });
  assert.equal((await stored(folders)).to, 'host2');
  await handOver(folders, undefined);
  await until(() => addressOn(two)?.to === undefined, { what: 'the end of the handover' });
  await assert.rejects(two.run(2, '10.5.0.11'), /is held on host host1/);
});

test('an address that its host gives up meanwhile is the other host’s at once', async (t) => {
  const { hosts: all, folders } = await hosts(t, 2, true);
  const [one, two] = all;
  await one.run(1, '10.5.0.11');
  await two.run(4);
  await handOver(folders, 'host2');
  await until(() => addressOn(two)?.to === 'host2', { what: 'the handover on host 2' });
  await two.run(2, '10.5.0.11');
  await one.remove(1, '10.5.0.11');
  await until(async () => (await stored(folders)).host === 'host2', { what: 'host 2 in the record' });
  assert.equal((await stored(folders)).state, 'reserved');
  await two.networks.activate(id(2), id(77), ['web']);
  await until(async () => (await stored(folders)).state === 'published', { what: 'published by host 2' });
});

test('Docker may ask for everything twice', async (t) => {
  const { hosts: all } = await hosts(t, 1);
  const [one] = all;
  await one.run(1, '10.5.0.11');
  const ids = { networkId: id(0xb001), endpointId: id(1) };
  const before = one.kernel.text;
  await one.networks.createEndpoint({ ...ids, addresses: [], options: {} });
  await one.networks.join({ ...ids, sandbox: '/run/netns/c1' });
  assert.deepEqual(one.kernel.text, before);
  for (let times = 0; times < 2; times++) await one.remove(1, '10.5.0.11');
  await one.networks.deleteNetwork(ids.networkId);
  await one.networks.deleteNetwork(ids.networkId);
  assert.deepEqual(one.book.state.removed, ['blue']);
});

test('a driver that starts again goes on with what it had', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const files = new Map<string, string>();
  const first = await driverHost(t, { n: 1, folders, files });
  await first.createNetwork({ subnet: '10.5.0.0/24' });
  await first.run(1, '10.5.0.11');
  const again = await driverHost(t, { n: 1, folders, files });
  assert.deepEqual(again.kernel.text, first.kernel.text);
});

test('a host that returns after its addresses were freed keeps those that nobody took', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const files = new Map<string, string>();
  const gone = await driverHost(t, { n: 1, folders, files });
  await gone.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await gone.run(1, '10.5.0.11');
  await gone.run(2, '10.5.0.12');
  await gone.stop();
  const two = await driverHost(t, { n: 2, folders });
  await two.createNetwork();
  const admin = new AddressAdmin({ folders, clock: systemClock });
  const { addresses } = await admin.freeHost('host1', { force: false }, AbortSignal.timeout(60_000));
  assert.deepEqual(addresses.map(({ ip }) => formatIp(ip)).sort(), ['10.5.0.11', '10.5.0.12']);
  assert.equal(await two.run(3, '10.5.0.11'), '10.5.0.11');
  const back = await driverHost(t, { n: 1, folders, files });
  const stateOn = (host: DriverHost, text: string) => {
    const known = host.present.get('blue')?.addresses.get(parseIp(text) as never);
    return `${known?.state} ${known?.host}`;
  };
  await until(() => stateOn(two, '10.5.0.12') === 'published host1', { what: 'its other address again' });
  await until(() => back.present.get('blue')?.segment?.silenced.has(id(1)), { what: 'silence' });
  assert.deepEqual([...(back.present.get('blue')?.segment?.silenced ?? [])], [id(1)]);
  assert.equal(stateOn(back, '10.5.0.11'), 'published host2');
  await seen(back, TO_2);
  await back.createNetwork();
  // Its own container gives nothing back that is another's.
  await back.remove(1, '10.5.0.11');
  assert.equal(stateOn(two, '10.5.0.11'), 'published host2');
});

test('a network with other values is refused with both', async (t) => {
  const { hosts: all } = await hosts(t, 1);
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const one = await driverHost(t, { n: 1, folders });
  const two = await driverHost(t, { n: 2, folders });
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await assert.rejects(two.createNetwork({ subnet: '10.6.0.0/24' }), /10\.6\.0\.0\/24.*10\.5\.0\.0\/24/);
  await assert.rejects(two.createNetwork({ vni: '70002' }), /VNI 70002, but network blue has 70001/);
  await two.createNetwork({ vni: '70001' });
  assert.equal(all.length, 1);
});

test('devices stay for a minute after the last container of their tenant, and then go', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const clock = new FakeClock({ epoch: Date.now() });
  const host = await driverHost(t, { n: 1, folders, clock });
  const stop = new AbortController();
  const tidying = host.present.tidyAtInterval(stop.signal).catch(() => {});
  await host.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  const address = await host.run(1);
  const device = 'link vx-70001 ';
  const isThere = (): boolean => host.kernel.text.some((line) => line.startsWith(device));
  await clock.advance(120_000);
  assert.ok(isThere(), host.kernel.text.join('\n'));
  await host.remove(1, address);
  await clock.advance(50_000);
  assert.ok(isThere(), host.kernel.text.join('\n'));
  await clock.advance(30_000);
  await until(() => host.kernel.text.length === 0, { what: `end of ${host.kernel.text.join('\n')}` });
  stop.abort();
  await tidying;
});
