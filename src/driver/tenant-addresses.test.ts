import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TenantAddresses } from '#src/driver/tenant-addresses.ts';
import { ipv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { parseTenant } from '#src/tenant/tenant-codec.ts';
import { hostRecord, TenantRecords } from '../../test/support/tenant-records.ts';

/*
 * Addresses of network blue as host1 knows them, which has listed them and hears of nothing any more; host2 has 10.5.0.9.
 */
const within = new AbortController().signal;
const IP = ipv4(0x0a050009);

async function setUp(t: { after(end: () => Promise<void>): void }) {
  const records = new TenantRecords({ clock: systemClock });
  await records.address('blue', '10.5.0.9', 2);
  const read = parseTenant(
    'blue',
    '{"vni":7,"subnets":{"v4":{"prefix":"10.5.0.0/24","gateway":"10.5.0.1"}}}',
  );
  assert.ok(read.ok);
  const folder = records.folders.folder('tenants/addresses/blue');
  const stop = new AbortController();
  folder.watch = async function* (_, signal) {
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const addresses = new TenantAddresses(
    {
      ...{ clock: systemClock, random: () => 0.5, log: silentLogger, records: folder },
      self: () => hostRecord(1),
      hostName: (host) => host,
    },
    { tenant: read.value, onChange: () => {} },
  );
  const running = addresses.run(stop.signal).catch(() => {});
  t.after(async () => {
    stop.abort();
    await running;
  });
  await addresses.isListed;
  return { records, addresses };
}

test('an address that its host has just given back may be claimed', async (t) => {
  const { records, addresses } = await setUp(t);
  await records.address('blue', '10.5.0.9', 2, { state: 'released' });
  const { ip, isMoved } = await addresses.claim({ family: 4, ip: IP }, within);
  assert.deepEqual([ip, isMoved], [IP, true]);
  assert.equal(await records.stateOf('blue', '10.5.0.9'), 'reserved');
});

test('one that is held is refused by what the registry says now', async (t) => {
  const { records, addresses } = await setUp(t);
  await records.address('blue', '10.5.0.9', 2, { names: ['shop'] });
  await assert.rejects(addresses.claim({ family: 4, ip: IP }, within), {
    code: 'address-refused',
    message: /10\.5\.0\.9 is held on host host2 by container shop/,
  });
});

test('one whose record is gone is refused: it may have been lost', async (t) => {
  const { records, addresses } = await setUp(t);
  await records.remove('addresses/blue', '10.5.0.9');
  await assert.rejects(addresses.claim({ family: 4, ip: IP }, within), { code: 'address-refused' });
  assert.equal(await records.stateOf('blue', '10.5.0.9'), undefined);
});
