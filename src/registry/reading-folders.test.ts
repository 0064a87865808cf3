import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { ReadingFolders } from '#src/registry/reading-folders.ts';
import { systemClock } from '#src/sys/clock.ts';

test('what is there is read and followed; a write waits until its signal aborts, and is remembered', async () => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const stop = new AbortController();
  const { signal } = stop;
  await folders.folder('a').create('one', '1', undefined, signal);
  const reading = new ReadingFolders(folders);
  const records = reading.folder('a');
  const there = await records.read('one', signal);
  assert.ok(there);
  const writes = [
    records.create('two', '2', undefined, signal),
    records.replace(there, '3', undefined, signal),
    records.remove(there, signal),
    records.renew(there, 60, signal),
  ];
  stop.abort(new Error('ended'));
  for (const outcome of await Promise.allSettled(writes)) assert.equal(outcome.status, 'rejected');
  assert.deepEqual(await folders.folder('a').list(AbortSignal.timeout(1_000)), {
    records: [there],
    revision: there.revision,
  });
  assert.deepEqual(
    reading.withheld.map(({ folder, name, verb }) => `${folder} ${name} ${verb}`),
    ['a two create', 'a one replace', 'a one remove'],
  );
});
