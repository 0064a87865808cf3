import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DockerApi } from '#src/docker/docker-api.ts';
import { DockerComparison } from '#src/driver/docker-comparison.ts';
import { DockerFollower } from '#src/driver/docker-follower.ts';
import type { WantedNetworks } from '#src/driver/docker-networks.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';
import { TOMBSTONE } from '#src/tenant/tombstone.ts';
import { driverHost } from '../../test/support/driver-host.ts';
import { MemoryDocker } from '../../test/support/memory-docker.ts';

/** Files of a group are loaded at once: no time begins to run then. */
const within = new AbortController().signal;

/** A host whose Docker is followed; its registry has tenants n0, n1, …. */
async function followed(t: TestContext, count: number, wanted: WantedNetworks = 'all') {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const records = folders.folder('tenants/networks');
  const addTenant = (n: number) => {
    const prefix = prefix4(ipv4(0x0a800000 + n * 256), 24);
    const v4 = { prefix, gateway: ipv4(prefix.address + 1), auxiliary: {} };
    const tenant = { name: `n${n}`, vni: 70_000 + n, subnets: { v4 }, internal: false };
    return records.create(tenant.name, formatTenant(tenant), undefined, within);
  };
  for (let n = 0; n < count; n++) await addTenant(n);
  const host = await driverHost(t, { n: 1, folders });
  const docker = new MemoryDocker(host);
  const follower = new DockerFollower(
    { ...host, docker, clock: systemClock, random: systemRandom, log: silentLogger },
    { wanted },
  );
  const stop = new AbortController();
  const running = follower.run(stop.signal).catch(() => {});
  t.after(async () => {
    stop.abort();
    await running;
  });
  const has = (names: readonly string[]) =>
    until(() => docker.names.join() === names.join(), { what: `networks ${names}` });
  return { host, docker, follower, records, addTenant, has };
}

test('Docker gets a network for each tenant, also for those that come meanwhile', async (t) => {
  const { docker, addTenant, has } = await followed(t, 2);
  const late = [2, 3];
  docker.beforeCreation = async () => {
    const n = late.shift();
    if (n !== undefined) await addTenant(n);
  };
  await has(['n0', 'n1', 'n2', 'n3']);
});

test('a tenant that is removed goes from Docker as well', async (t) => {
  const { records, has } = await followed(t, 2);
  await has(['n0', 'n1']);
  const record = await records.read('n0', within);
  assert.ok(record);
  await records.replace(record, TOMBSTONE, undefined, within);
  await has(['n1']);
});

for (const [what, isRemovedHere] of [
  ['', false],
  [', also where a user had removed the former one', true],
] as const) {
  test(`a tenant that has the name of one that was removed a moment ago is a new network${what}`, async (t) => {
    const { docker, host, records, has } = await followed(t, 1);
    await has(['n0']);
    const [former] = await docker.networks();
    if (isRemovedHere) {
      await docker.removeNetwork(former?.id ?? '');
      await has([]);
    }
    const record = await records.read('n0', within);
    assert.ok(record);
    const prefix = prefix4(ipv4(0x0ac80000), 24);
    const v4 = { prefix, gateway: ipv4(prefix.address + 1), auxiliary: {} };
    const tenant = { name: 'n0', vni: 80_000, subnets: { v4 }, internal: false };
    // The follower finds both done: it waits a moment for what comes together.
    const removed = await records.replace(record, TOMBSTONE, undefined, within);
    assert.equal(removed.outcome, 'written');
    if (removed.outcome === 'written')
      await records.replace(removed.record, formatTenant(tenant), undefined, within);
    const isNew = async () =>
      (await docker.networks()).some(({ name, id }) => name === 'n0' && id !== former?.id);
    await until(isNew, { what: 'the new network in Docker' });
    assert.deepEqual(docker.names, ['n0']);
    assert.equal(host.book.state.tenants.n0, formatTenant(tenant));
    assert.deepEqual(host.book.state.removed, []);
  });
}

test('a tenant that is removed while Docker makes others does not come back', async (t) => {
  const { docker, host, addTenant, records, has } = await followed(t, 0);
  docker.beforeCreation = async (name) => {
    const last = name === 'n0' ? await records.read('n2', within) : undefined;
    if (last === undefined) return;
    await records.replace(last, TOMBSTONE, undefined, within);
    await until(() => host.directory.isRemoved('n2'), { what: 'removal' });
  };
  for (const n of [0, 1, 2]) await addTenant(n);
  await has(['n0', 'n1']);
  assert.equal((await records.read('n2', within))?.value, TOMBSTONE);
});

test('a network that a user is creating here is not made by the follower, however long it takes', async (t) => {
  const { docker, host, addTenant, has, follower } = await followed(t, 0);
  await until(() => follower.isConnected, { what: 'Docker' });
  const { directory } = host;
  const ensure = directory.ensure.bind(directory);
  directory.ensure = async (wanted, signal) => {
    const tenant = await ensure(wanted, signal);
    if (tenant.name !== 'blue') return tenant;
    // It is in the registry, and the follower has looked there.
    await addTenant(1);
    await has(['n1']);
    return tenant;
  };
  const options = { 'weft.network': 'blue' };
  const ipam = { driver: 'weft', options, config: [{ subnet: '10.143.160.0/24' }] };
  const wanted = { name: 'blue', driver: 'weft', options, labels: {}, internal: false, enableIpv6: false };
  const made = await docker.createNetwork({ ...wanted, ipam });
  await has(['blue', 'n1']);
  assert.equal(host.book.state.networks[made], 'blue');
});

test('what Docker refuses is said once, and the others are made', async (t) => {
  const { docker, follower, addTenant, has } = await followed(t, 0);
  docker.refuses.add('n0').add('n1');
  for (const n of [0, 1, 2]) await addTenant(n);
  await has(['n2']);
  assert.match(follower.trouble ?? '', /could not make network n0 in Docker: .*\(and 1 more network\)/);
});

test('of 1,000 tenants ten are in use: devices for ten, and no look into the others', async (t) => {
  const { docker, host } = await followed(t, 1_000);
  await until(() => docker.names.length === 1_000, { what: 'all networks', timeoutMs: 60_000 });
  for (let n = 0; n < 10; n++) await docker.run(`n${n * 100}`, `c${n}`);
  const bridges = host.kernel.text.filter((line) => /^link br-/.test(line));
  assert.equal(bridges.length, 10, host.kernel.text.join('\n'));
  assert.equal([...host.present.all()].length, 10);
  assert.ok(docker.lookedInto.size <= 10);
});

test('with 5,000 tenants Docker has the network that a user creates, where that is wanted', async (t) => {
  const { docker, host, follower } = await followed(t, 5_000, 'created');
  await until(() => follower.isConnected, { what: 'Docker' });
  const options = { 'weft.network': 'n4000' };
  const config = [{ subnet: '10.143.160.0/24' }];
  const ipam = { driver: 'weft', options, config };
  const wanted = { name: 'n4000', driver: 'weft', options, labels: {}, internal: false, enableIpv6: false };
  await docker.createNetwork({ ...wanted, ipam });
  await docker.run('n4000', 'web');
  assert.deepEqual(docker.names, ['n4000']);
  assert.ok(host.kernel.text.some((line) => line.startsWith('link br-74000')));
});

test('a container for which Docker does not answer keeps nobody else waiting', async (t) => {
  const { docker, host, follower, has } = await followed(t, 1);
  await has(['n0']);
  await docker.run('n0', 'slow');
  await docker.run('n0', 'web');
  const slow = Promise.withResolvers<void>();
  docker.starting.set('slow', slow.promise);
  const names = () => Object.values(host.book.state.endpoints).flatMap((it) => it.names);
  const knows = (what: string) => until(() => names().includes(what), { what: `name ${what}` });
  docker.started('slow');
  docker.started('web');
  await knows('web');
  assert.deepEqual([names(), follower.isConnected], [['web'], true]);
  slow.reject(new Error('no answer within 10 s'));
  docker.starting.delete('slow');
  await knows('slow');
  assert.equal(follower.trouble, undefined);
});

test('endpoints that the book has lost are taken over, with their addresses', async (t) => {
  const { docker, host, has } = await followed(t, 1);
  await has(['n0']);
  const addresses = await docker.run('n0', 'web');
  await host.book.change(() => ({
    ...host.book.state,
    networks: {},
    tenants: {},
    endpoints: {},
    addresses: {},
  }));
  await new DockerComparison({ ...host, docker, clock: systemClock, log: silentLogger }).run(within);
  assert.deepEqual(Object.values(host.book.state.networks), ['n0']);
  const [endpoint] = Object.values(host.book.state.endpoints);
  assert.deepEqual([endpoint?.tenant, endpoint?.addresses, endpoint?.names], ['n0', addresses, ['web']]);
  // A port that went with the book is made with its other end there.
  assert.equal(endpoint?.sandbox, '/run/netns/web');
});

test('a network that Docker has lost leaves the book', async (t) => {
  const { docker, host, has } = await followed(t, 1);
  await has(['n0']);
  docker.forget('n0');
  await new DockerComparison({ ...host, docker, clock: systemClock, log: silentLogger }).run(within);
  assert.deepEqual(host.book.state.networks, {});
});

test('an endpoint that Docker does not have goes after a minute, with its addresses, whatever the clock says', async (t) => {
  const { docker, host, has } = await followed(t, 1);
  await has(['n0']);
  const [address = ''] = await docker.run('n0', 'web');
  const none = {
    networks: () => docker.networks(),
    networksInUse: async () => new Set<string>(),
    endpoints: async () => [],
    container: async () => undefined,
  } as unknown as DockerApi;
  const clock = new FakeClock();
  const comparison = new DockerComparison({ ...host, docker: none, clock, log: silentLogger });
  const states = () => Object.values(host.book.state.addresses.n0 ?? {}).map((it) => it.isReleasing);
  await comparison.run(within);
  clock.setWallTime(31_536_000_000);
  await clock.advance(30_000);
  await comparison.run(within);
  assert.equal(Object.keys(host.book.state.endpoints).length, 1);
  assert.deepEqual(states(), [false], address);
  await clock.advance(30_000);
  await comparison.run(within);
  assert.deepEqual(host.book.state.endpoints, {});
  await until(() => states().length === 0, { what: `release of ${address}` });
});
