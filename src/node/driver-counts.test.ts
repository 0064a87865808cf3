import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriverCounts } from '#src/node/driver-counts.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

test('dropped packets are read when asked for, not twice in five seconds', async () => {
  const clock = new FakeClock();
  const counts = new DriverCounts({ clock });
  assert.equal((await counts.figures()).dropped, undefined);
  let reads = 0;
  counts.follow({ dropped: async () => new Map([['false-mac', ++reads]]) });
  const read = async () => (await counts.figures()).dropped?.get('false-mac');
  assert.deepEqual([await read(), await read()], [1, 1]);
  await clock.advance(5_000);
  assert.equal(await read(), 2);
  assert.deepEqual(clock.sleeping, []);
});

test('a reading that hangs holds up no scrape, and one that fails leaves the last one', async () => {
  const clock = new FakeClock();
  const counts = new DriverCounts({ clock });
  counts.follow({ dropped: async () => new Map([['server', 1]]) });
  await counts.figures();
  await clock.advance(5_000);
  counts.follow({ dropped: () => new Promise(() => {}) });
  const asked = counts.figures();
  await clock.advance(2_000);
  assert.equal((await asked).dropped?.get('server'), 1);
});

test('calls are counted by method, and only those that there are', async () => {
  const counts = new DriverCounts({ clock: new FakeClock() });
  counts.calls.answered('NetworkDriver.Join', 0.2, 'done');
  counts.calls.answered('NetworkDriver.Join', 11, 'failed');
  counts.calls.answered('made up', 1, 'failed');
  const { calls } = await counts.figures();
  assert.equal(calls.has('made up'), false);
  assert.equal(calls.get('NetworkDriver.Join')?.failed, 1);
  assert.equal(calls.get('NetworkDriver.Join')?.seconds.count, 2);
  assert.equal(calls.get('NetworkDriver.Leave')?.seconds.count, 0);
});
