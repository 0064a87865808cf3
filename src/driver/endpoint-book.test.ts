import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EndpointBook } from '#src/driver/endpoint-book.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Files } from '#src/sys/files.ts';

/** Files in memory, on a disk that may be full. */
function memoryDisk() {
  const texts = new Map<string, string>();
  const disk = { texts, isFull: false, writes: 0 };
  const files = {
    read: async (path: string) => texts.get(path),
    async writeAtomically(path: string, text: string) {
      disk.writes++;
      if (disk.isFull) throw new Error('ENOSPC: no space left on device');
      texts.set(path, text);
    },
  };
  return { disk, open: () => EndpointBook.open({ files: files as unknown as Files }, 'docker.json') };
}

const withNetwork = (id: string) => (state: EndpointBook['state']) => ({
  ...state,
  networks: { ...state.networks, [id]: 'blue' },
});

test('what was changed is there after a restart, and changes of one turn share a write', async () => {
  const { disk, open } = memoryDisk();
  const book = await open();
  assert.equal(book.isNew, true);
  await Promise.all(['a', 'b', 'c'].map((id) => book.change(withNetwork(id))));
  assert.equal(disk.writes, 1);
  const again = await open();
  assert.deepEqual(again.state, book.state);
  assert.deepEqual([again.isNew, again.fault], [false, undefined]);
});

test('a damaged file is put aside, and the book begins', async () => {
  for (const text of [
    '',
    '{"networks":',
    '[]',
    'null',
    '{"networks":null}',
    '{"removed":{}}',
    '\0'.repeat(90),
  ]) {
    const { disk, open } = memoryDisk();
    disk.texts.set('docker.json', text);
    const book = await open();
    assert.match(
      book.fault ?? '',
      /^docker\.json is damaged \(.*\), and is now docker\.json\.damaged:/,
      text,
    );
    assert.equal(disk.texts.get('docker.json.damaged'), text);
    assert.equal(book.isNew, true);
    await book.change(withNetwork('a'));
    assert.equal((await open()).fault, undefined);
  }
});

test('fields of later versions are kept', async () => {
  const { disk, open } = memoryDisk();
  disk.texts.set('docker.json', '{"later":[1],"networks":{"a":"blue"}}');
  await (await open()).change(withNetwork('b'));
  assert.match(disk.texts.get('docker.json') ?? '', /"later":\[1\]/);
});

function keepWritten(t: TestContext, book: EndpointBook) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const clock = new FakeClock();
  const log: string[] = [];
  const note = (line: string): void => void log.push(line);
  book.keepWritten({ clock, log: { ...silentLogger, info: note, error: note } }, stop.signal).catch(() => {});
  return { clock, log };
}

test('on a full disk new things are refused, what has happened counts, and all is written later', async (t) => {
  const { disk, open } = memoryDisk();
  const book = await open();
  const { clock, log } = keepWritten(t, book);
  disk.isFull = true;
  await assert.rejects(book.change(withNetwork('a')), { code: 'docker-state' });
  await book.record(withNetwork('b'));
  assert.deepEqual(book.state.networks, { a: 'blue', b: 'blue' });
  assert.match(book.trouble ?? '', /^could not write docker\.json: ENOSPC/);
  await clock.advance(20_000);
  disk.isFull = false;
  await clock.advance(5_000);
  assert.equal(book.trouble, undefined);
  assert.deepEqual((await open()).state.networks, book.state.networks);
  assert.deepEqual(
    log.map((line) => line.replace(/:.*/, '')),
    ['could not write docker.json', 'Wrote docker.json'],
  );
});
