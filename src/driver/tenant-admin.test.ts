import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NewTenant, TenantAdmin } from '#src/driver/tenant-admin.ts';
import { formatPrefix, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { TOMBSTONE } from '#src/tenant/tombstone.ts';
import { TenantRecords } from '../../test/support/tenant-records.ts';

const signal = new AbortController().signal;
const prefix = (text: string) => parsePrefix4(text) ?? assert.fail(text);
const BLUE: NewTenant = { name: 'blue', vni: 70_001, v4: { prefix: prefix('10.5.0.0/24') } };

function setUp() {
  const records = new TenantRecords({ clock: systemClock });
  const parts = { folders: records.folders, clock: systemClock, random: Math.random, log: silentLogger };
  return { records, admin: new TenantAdmin(parts) };
}

test('what is not given is chosen, and differs from what others have', async () => {
  const { admin, records } = setUp();
  const made = [];
  for (const name of ['blue', 'red']) made.push(await admin.create({ name, v4: {}, v6: {} }, signal));
  const texts = made.map(({ tenant, isNew }) => [
    tenant.vni,
    tenant.subnets.v4 && formatPrefix(tenant.subnets.v4.prefix),
    isNew,
  ]);
  assert.deepEqual(texts, [
    [10_000, '10.128.0.0/24', true],
    [10_001, '10.128.1.0/24', true],
  ]);
  assert.equal(await records.read('vnis', '10001'), 'red');
  const [blue, red] = made.map(({ tenant }) => tenant.subnets.v6?.prefix.address);
  assert.notEqual(blue, red);
});

test('created twice it is the same one, also by less than it was created with', async () => {
  const { admin } = setUp();
  await admin.create(BLUE, signal);
  for (const wish of [BLUE, { name: 'blue', v4: {} }]) {
    const { isNew, tenant } = await admin.create(wish, signal);
    assert.deepEqual([isNew, tenant.vni], [false, 70_001]);
  }
  await assert.rejects(admin.create({ ...BLUE, vni: 7 }, signal), /VNI 7, but network blue has 70001/);
  await assert.rejects(admin.create({ name: 'red', vni: 70_001, v4: {} }, signal), {
    code: 'vni-taken',
    message: /network blue has it/,
  });
});

test('what can not be is refused before anything is written', async () => {
  const { admin, records } = setUp();
  const refused: readonly [NewTenant, RegExp][] = [
    [{ name: 'a/b', v4: {} }, /can't be the name of a tenant/],
    [{ name: 'blue', v4: { prefix: prefix('10.5.0.1/24') } }, /has host bits/],
    [
      { name: 'blue', v4: { ...BLUE.v4, gateway: parseIpv4('10.6.0.1') as never } },
      /gateway.*not in the subnet/,
    ],
    [{ ...BLUE, vni: 1 << 24 }, /VNI must be between 1 and 16777215/],
    [{ ...BLUE, mtu: 12 }, /MTU must be between/],
  ];
  for (const [wish, reason] of refused) await assert.rejects(admin.create(wish, signal), reason);
  assert.deepEqual([...(await records.names('networks')), ...(await records.names('vnis'))], []);
});

test('a removal leaves a tombstone, frees VNI and addresses, and can be undone by a creation', async () => {
  const { admin, records } = setUp();
  await admin.create(BLUE, signal);
  await records.address('blue', '10.5.0.9', 1, { state: 'released' });
  await records.address('blue', '10.5.0.10', 1, { state: 'kept', keep: true });
  assert.deepEqual(await admin.remove('blue', signal), { hadRecord: true, vnis: [70_001], addresses: 2 });
  assert.equal(await records.read('networks', 'blue'), TOMBSTONE);
  assert.deepEqual(await records.names('addresses/blue'), []);
  await assert.rejects(admin.remove('blue', signal), { code: 'no-such-network' });
  assert.equal((await admin.create(BLUE, signal)).isNew, true);
});

test('a network in use is not removed, and the first holders are named', async () => {
  const { admin, records } = setUp();
  await admin.create(BLUE, signal);
  await records.host(1);
  for (const last of [9, 10, 11, 12])
    await records.address('blue', `10.5.0.${last}`, last === 10 ? 2 : 1, {
      state: last === 9 ? 'reserved' : 'published',
    });
  await assert.rejects(admin.remove('blue', signal), {
    code: 'tenant-held',
    message:
      'network blue is in use: 10.5.0.9 is held on host node-1 by container web, 10.5.0.10 is held on host host2 (not alive) by container web, 10.5.0.11 is held on host node-1 by container web, and 1 more',
  });
  assert.equal(await records.read('vnis', '70001'), 'blue');
});

test('a record that can not be read is taken for one in use', async () => {
  const { admin, records } = setUp();
  await admin.create(BLUE, signal);
  await records.put('addresses/blue', '10.5.0.9', '{}');
  await assert.rejects(admin.remove('blue', signal), /the record of 10\.5\.0\.9 can't be read/);
});

test('a container that starts during the removal keeps the VNI taken', async () => {
  const { admin, records } = setUp();
  await admin.create(BLUE, signal);
  const networks = records.folders.folder('tenants/networks');
  const replace = networks.replace.bind(networks);
  networks.replace = async (...words) => {
    await records.address('blue', '10.5.0.9', 1);
    return replace(...words);
  };
  await assert.rejects(
    admin.remove('blue', signal),
    /network blue is removed, and still in use: 10\.5\.0\.9/,
  );
  assert.equal(await records.read('vnis', '70001'), 'blue');
  await records.address('blue', '10.5.0.9', 1, { state: 'released' });
  assert.deepEqual(await admin.remove('blue', signal), { hadRecord: false, vnis: [70_001], addresses: 1 });
});

test('what an interrupted creation left is used by the next one, or removed', async () => {
  const { admin, records } = setUp();
  await records.put('vnis', '10000', 'blue');
  assert.equal((await admin.create({ name: 'blue', v4: {} }, signal)).tenant.vni, 10_000);
  await records.put('vnis', '7', 'red');
  assert.deepEqual(await admin.remove('red', signal), { hadRecord: false, vnis: [7], addresses: 0 });
});

test('a VNI that is given to another network during the creation is not used twice', async () => {
  const { admin, records } = setUp();
  const networks = records.folders.folder('tenants/networks');
  const create = networks.create.bind(networks);
  networks.create = async (...words) => {
    await records.put('vnis', '70001', 'red');
    return create(...words);
  };
  await assert.rejects(admin.create(BLUE, signal), { code: 'vni-taken' });
  assert.equal(await records.read('networks', 'blue'), undefined);
});
