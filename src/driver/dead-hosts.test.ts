import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeadHosts } from '#src/driver/dead-hosts.ts';
import { TenantAddresses } from '#src/driver/tenant-addresses.ts';
import { silentLogger } from '#src/lib/log.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { parseTenant } from '#src/tenant/tenant-codec.ts';
import { hostRecord, TenantRecords } from '../../test/support/tenant-records.ts';

/*
 * What host1 thinks of host2, which had 10.5.0.9 of network blue. A look each 6 minutes, at a grace time of an hour.
 */
const HOUR = 3_600_000;
const MINUTE = 60_000;

async function setUp(t: { after(end: () => Promise<void>): void }, graceMs = HOUR) {
  const clock = new FakeClock();
  const records = new TenantRecords({ clock });
  await records.host(1);
  await records.host(2, { isAlive: false });
  await records.address('blue', '10.5.0.9', 2);
  const read = parseTenant(
    'blue',
    '{"vni":7,"subnets":{"v4":{"prefix":"10.5.0.0/24","gateway":"10.5.0.1"}}}',
  );
  assert.ok(read.ok);
  const tenant = read.value;
  const shared = { clock, random: () => 0.99, log: silentLogger, folders: records.folders };
  const addresses = new TenantAddresses(
    {
      ...shared,
      records: records.folders.folder('tenants/addresses/blue'),
      self: () => hostRecord(1),
      hostName: () => undefined,
    },
    { tenant, onChange: () => {} },
  );
  const hosts = new Map([['host2', hostRecord(2, { seen: 1 })]]);
  const dead = new DeadHosts(
    { ...shared, self: 'host1', hosts: () => hosts, present: () => [{ tenant, addresses }] },
    { graceMs },
  );
  const stop = new AbortController();
  const running = [addresses.run(stop.signal), dead.run(stop.signal)].map((it) => it.catch(() => {}));
  t.after(async () => {
    stop.abort();
    await Promise.all(running);
  });
  const state = () => records.stateOf('blue', '10.5.0.9');
  return { clock, records, hosts, state };
}

test('the addresses of a host that is gone are free after the grace time, and its records go', async (t) => {
  const { clock, records, state } = await setUp(t);
  await records.address('blue', '10.5.0.10', 2, { keep: true });
  await records.address('blue', '10.5.0.11', 1);
  await clock.advance(55 * MINUTE);
  assert.equal(await state(), 'published');
  await clock.advance(20 * MINUTE);
  assert.equal(await state(), 'released');
  assert.equal(await records.stateOf('blue', '10.5.0.10'), 'kept');
  assert.equal(await records.stateOf('blue', '10.5.0.11'), 'published');
  await clock.advance(20 * MINUTE);
  assert.equal(await state(), undefined);
  assert.equal(await records.stateOf('blue', '10.5.0.10'), 'kept');
});

test('a sign of life in between begins the time again', async (t) => {
  const { clock, records, hosts, state } = await setUp(t);
  await clock.advance(50 * MINUTE);
  await records.host(2);
  await clock.advance(10 * MINUTE);
  await records.remove('alive', 'host2');
  await clock.advance(50 * MINUTE);
  assert.equal(await state(), 'published');
  // It lived between two looks.
  hosts.set('host2', hostRecord(2, { seen: 2 }));
  await clock.advance(50 * MINUTE);
  assert.equal(await state(), 'published');
  await clock.advance(20 * MINUTE);
  assert.equal(await state(), 'released');
});

test('an outage of the registry is not time in which a host was gone', async (t) => {
  const { clock, records, state } = await setUp(t);
  await clock.advance(20 * MINUTE);
  const alive = records.folders.folder('tenants/alive');
  const list = alive.list.bind(alive);
  alive.list = async () => {
    throw new RegistryError('unreachable', 'no answer');
  };
  await clock.advance(30 * HOUR);
  // Nobody could show life meanwhile: all of it has ended.
  await records.remove('alive', 'host1');
  alive.list = list;
  await clock.advance(10 * MINUTE);
  assert.equal(await state(), 'published');
  await records.host(1);
  await records.host(2);
  await clock.advance(3 * HOUR);
  assert.equal(await state(), 'published');
});

test('a wall clock that jumps ends no grace time', async (t) => {
  const { clock, state } = await setUp(t);
  await clock.advance(10 * MINUTE);
  clock.setWallTime(100 * HOUR);
  await clock.advance(40 * MINUTE);
  assert.equal(await state(), 'published');
});

test('without a grace time nothing is freed', async (t) => {
  const { clock, state } = await setUp(t, 0);
  await clock.advance(100 * HOUR);
  assert.equal(await state(), 'published');
});
