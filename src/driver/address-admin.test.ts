import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressAdmin } from '#src/driver/address-admin.ts';
import { formatIp, parseIp } from '#src/lib/ip.ts';
import { systemClock } from '#src/sys/clock.ts';
import { TenantRecords } from '../../test/support/tenant-records.ts';

const signal = new AbortController().signal;
const ip = (text: string) => parseIp(text) ?? assert.fail(text);
const NINE = ip('10.5.0.9');

/** Hosts 1, alive, and 2, which is not. */
async function setUp() {
  const records = new TenantRecords({ clock: systemClock });
  await records.put(
    'networks',
    'blue',
    '{"vni":7,"subnets":{"v4":{"prefix":"10.5.0.0/24","gateway":"10.5.0.1"}}}',
  );
  await records.host(1);
  await records.host(2, { isAlive: false });
  return { records, admin: new AddressAdmin({ folders: records.folders, clock: systemClock }) };
}

test('an address in use is kept at its release, and one that was released from then on', async () => {
  const { records, admin } = await setUp();
  await records.address('blue', '10.5.0.9', 1);
  const kept = await admin.setKeep('blue', NINE, true, signal);
  assert.deepEqual([kept.state, kept.keep, kept.names], ['published', true, ['web']]);
  await records.address('blue', '10.5.0.10', 1, { state: 'released' });
  await admin.setKeep('blue', ip('10.5.0.10'), true, signal);
  assert.equal(await records.stateOf('blue', '10.5.0.10'), 'kept');
  assert.equal((await admin.setKeep('blue', ip('10.5.0.10'), false, signal)).state, 'released');
  await assert.rejects(admin.setKeep('blue', ip('10.5.0.11'), true, signal), { code: 'no-such-address' });
});

test('a write of the host between reading and writing is not lost', async () => {
  const { records, admin } = await setUp();
  await records.address('blue', '10.5.0.9', 1);
  const addresses = records.folders.folder('tenants/addresses/blue');
  const replace = addresses.replace.bind(addresses);
  addresses.replace = async (...words) => {
    addresses.replace = replace;
    await records.address('blue', '10.5.0.9', 1, { names: ['shop'] });
    return replace(...words);
  };
  assert.deepEqual((await admin.setKeep('blue', NINE, true, signal)).names, ['shop']);
});

test('an address is removed when nobody has it, its host is gone, or by force', async () => {
  const { records, admin } = await setUp();
  const remove = (force = false) => admin.remove('blue', NINE, { force }, signal);
  await records.address('blue', '10.5.0.9', 1);
  await assert.rejects(remove(), {
    code: 'address-held',
    message: '10.5.0.9 is held on host node-1 by container web',
  });
  await remove(true);
  await assert.rejects(remove(), { code: 'no-such-address' });
  await records.address('blue', '10.5.0.9', 1, { state: 'kept', keep: true });
  await remove();
  await records.address('blue', '10.5.0.9', 2);
  await remove();
  await records.put('addresses/blue', '10.5.0.9', 'junk');
  await assert.rejects(remove(), /can't be read/);
  await remove(true);
  assert.equal(await records.stateOf('blue', '10.5.0.9'), undefined);
});

test('a host that is gone is freed by its name or identity, and forgotten', async () => {
  for (const host of ['node-2', 'host2']) {
    const { records, admin } = await setUp();
    await records.address('blue', '10.5.0.9', 2);
    await records.address('blue', '10.5.0.10', 2, { keep: true });
    await records.address('blue', '10.5.0.11', 2, { state: 'released' });
    await records.address('blue', '10.5.0.12', 1);
    const { addresses, isForgotten } = await admin.freeHost(host, { force: false }, signal);
    assert.deepEqual(
      addresses.map((it) => `${it.tenant} ${formatIp(it.ip)}`),
      ['blue 10.5.0.9', 'blue 10.5.0.10'],
    );
    assert.equal(isForgotten, true);
    const states = ['9', '10', '11', '12'].map((last) => records.stateOf('blue', `10.5.0.${last}`));
    assert.deepEqual(await Promise.all(states), ['released', 'kept', 'released', 'published']);
    assert.deepEqual(await records.names('hosts'), ['host1']);
  }
});

test('a host that is alive is freed by force only, and stays known', async () => {
  const { records, admin } = await setUp();
  await records.address('blue', '10.5.0.9', 1);
  await assert.rejects(admin.freeHost('node-1', { force: false }, signal), {
    code: 'host-alive',
    message: /^host node-1 is alive/,
  });
  const { addresses, isForgotten } = await admin.freeHost('node-1', { force: true }, signal);
  assert.deepEqual([addresses.length, isForgotten], [1, false]);
});

test('a host that nobody knows, or that is two, is refused', async () => {
  const { records, admin } = await setUp();
  await assert.rejects(admin.freeHost('node-9', { force: false }, signal), { code: 'no-such-host' });
  await records.host(3, { hostName: 'node-2' });
  await assert.rejects(admin.freeHost('node-2', { force: false }, signal), /host2, host3/);
  await records.address('blue', '10.5.0.9', 9);
  assert.equal((await admin.freeHost('host9', { force: false }, signal)).addresses.length, 1);
});

test('an address in use is handed over to a host that is alive, and taken back', async () => {
  const { records, admin } = await setUp();
  await records.host(3);
  await records.address('blue', '10.5.0.9', 1);
  const taker = async () =>
    JSON.parse(
      (await records.folders.folder('tenants/addresses/blue').read('10.5.0.9', signal))?.value ?? '{}',
    ).to;
  const move = (host: string, address = NINE) => admin.handOver('blue', address, host, signal);
  assert.deepEqual(await move('node-3'), { to: 'host3', hostName: 'node-3', container: 'web' });
  assert.equal(await taker(), 'host3');
  await admin.cancelHandOver('blue', NINE, signal);
  assert.equal(await taker(), undefined);
  await assert.rejects(move('node-2'), /host node-2 \(not alive\) shows no life/);
  await assert.rejects(move('node-1'), { code: 'address-move', message: /host node-1 has it/ });
  await assert.rejects(move('node-4'), { code: 'no-such-host' });
  await assert.rejects(move('node-3', ip('10.5.0.10')), { code: 'no-such-address' });
  for (const state of ['reserved', 'released', 'kept'] as const) {
    await records.address('blue', '10.5.0.11', 1, { state });
    await assert.rejects(move('node-3', ip('10.5.0.11')), { code: 'address-move', message: /: it is / });
  }
});
