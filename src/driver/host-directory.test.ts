import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { HostDirectory } from '#src/driver/host-directory.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { type HostRecord, parseHost } from '#src/tenant/host-codec.ts';
import { hostRecord, TenantRecords } from '../../test/support/tenant-records.ts';

const HOUR = 3_600_000;

async function setUp(t: TestContext) {
  const clock = new FakeClock();
  const records = new TenantRecords({ clock });
  let self: HostRecord = hostRecord(1);
  const { folders } = records;
  const parts = { folders, clock, random: () => 0.5, log: silentLogger, self: () => self };
  const directory = new HostDirectory(parts, { onChange: () => {} });
  const stop = new AbortController();
  const running = directory.run(stop.signal).catch(() => {});
  t.after(async () => {
    stop.abort();
    await running;
  });
  await clock.advance(0);
  const own = async (): Promise<HostRecord> => {
    const read = parseHost('host1', (await records.read('hosts', 'host1')) ?? '');
    assert.ok(read.ok);
    return read.value;
  };
  const become = (other: HostRecord, { soon = false } = {}): void => {
    self = other;
    if (soon) directory.publishSoon();
    else directory.publish();
  };
  return { clock, records, directory, own, become };
}

test('a host writes once an hour when it last lived, and not with every change', async (t) => {
  const { clock, own, become } = await setUp(t);
  const began = clock.now();
  assert.equal((await own()).seen, began);
  await clock.advance(HOUR / 2);
  become(hostRecord(1, { removed: ['blue'] }));
  await clock.advance(0);
  assert.deepEqual([(await own()).seen, (await own()).removed], [began, ['blue']]);
  await clock.advance(2 * HOUR);
  const { seen = 0 } = await own();
  assert.ok(clock.now() - seen <= HOUR, String(seen - began));
});

test('a time that has not come yet is written again', async (t) => {
  const { clock, own } = await setUp(t);
  clock.setWallTime(-100 * HOUR);
  await clock.advance(HOUR);
  assert.equal((await own()).seen, clock.now());
});

test('a record that somebody removed is written again, and the sign of life goes on', async (t) => {
  const { clock, records } = await setUp(t);
  await records.host(2);
  await records.remove('hosts', 'host1');
  await clock.advance(1_000);
  assert.deepEqual(await records.names('hosts'), ['host1', 'host2']);
  await clock.advance(HOUR);
  assert.deepEqual(await records.names('alive'), ['host1', 'host2']);
});

test('networks that come in a group are one write', async (t) => {
  const { clock, own, become } = await setUp(t);
  const docker: Record<string, string> = {};
  for (let n = 0; n < 10; n++) {
    docker[n.toString(16).repeat(64)] = `n${n}`;
    become(hostRecord(1, { docker: { ...docker } }), { soon: true });
    await clock.advance(100);
    assert.deepEqual((await own()).docker, {});
  }
  await clock.advance(5_000);
  assert.deepEqual((await own()).docker, docker);
});

test('frames of a host are taken for a while after its record is gone: its store may have been emptied', async (t) => {
  const { clock, records, directory } = await setUp(t);
  const others = () => directory.vteps().slice(1);
  await records.host(2);
  await clock.advance(0);
  const known = others();
  assert.equal(known.length, 1);
  await records.remove('hosts', 'host2');
  await clock.advance(29_000);
  assert.deepEqual(others(), known);
  await clock.advance(2_000);
  assert.deepEqual(others(), []);
  await records.host(2);
  await clock.advance(0);
  await records.remove('hosts', 'host2');
  await clock.advance(10_000);
  await records.host(2);
  await clock.advance(60_000);
  assert.deepEqual(others(), known, 'it is there again');
});
