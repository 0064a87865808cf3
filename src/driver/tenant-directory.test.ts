import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';
import { until } from '#src/sys/until.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';
import { TOMBSTONE } from '#src/tenant/tombstone.ts';

/** Files of a group are loaded at once: no time begins to run then. */
const within = new AbortController().signal;

test('an answer that is older than an event brings no removed tenant back', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const records = folders.folder('tenants/networks');
  const directory = new TenantDirectory({
    folders,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  const stop = new AbortController();
  const running = directory.run(stop.signal).catch(() => {});
  t.after(async () => {
    stop.abort();
    await running;
  });
  await directory.listed;
  // The read is answered as of before the removal, and comes after it.
  const read = records.read.bind(records);
  const held = Promise.withResolvers<void>();
  const v4 = { prefix: prefix4(ipv4(0x0a050000), 24), gateway: ipv4(0x0a050001), auxiliary: {} };
  const text = formatTenant({ name: 'blue', vni: 70_001, internal: false, subnets: { v4 } });
  let began = (): void => {};
  const asked = new Promise<void>((resolve) => {
    began = resolve;
  });
  records.read = async (name, signal) => {
    const written = await records.create('blue', text, undefined, within);
    assert.equal(written.outcome, 'written');
    const answer = await read(name, signal);
    began();
    await held.promise;
    return answer;
  };
  const reading = directory.read('blue', within);
  await asked;
  records.read = read;
  const there = await records.read('blue', within);
  assert.ok(there);
  await records.replace(there, TOMBSTONE, undefined, within);
  await until(() => directory.isRemoved('blue'), { what: 'removal' });
  held.resolve();
  assert.equal(await reading, undefined);
  assert.deepEqual([directory.isRemoved('blue'), directory.get('blue')], [true, undefined]);
});
