import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Files } from '#src/sys/files.ts';
import { portName } from '#src/tenant/segment-objects.ts';

/** Files in memory, on a disk that may be full. */
function memoryDisk() {
  const texts = new Map<string, string>();
  const disk = { texts, isFull: false, writes: 0, appends: 0, bytes: 0 };
  const files = {
    read: async (path: string) => texts.get(path),
    async writeAtomically(path: string, text: string) {
      disk.writes++;
      if (disk.isFull) throw new Error('ENOSPC: no space left on device');
      disk.bytes += text.length;
      texts.set(path, text);
    },
    async append(path: string, text: string) {
      disk.appends++;
      if (disk.isFull) throw new Error('ENOSPC: no space left on device');
      disk.bytes += text.length;
      texts.set(path, `${texts.get(path)}${text}`);
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

const endpoint = (n: number): BookedEndpoint => ({
  networkId: 'a',
  tenant: n % 2 === 0 ? 'blue' : 'green',
  mac: '02:42:0a:05:00:0b',
  addresses: [`10.5.0.${n}`],
  isActive: false,
  names: [],
  since: n,
});
const idOf = (n: number): string => n.toString(16).padStart(64, '0');

/** A book that has been written with 1,000 endpoints. */
async function fullBook() {
  const memory = memoryDisk();
  const book = await memory.open();
  const endpoints = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [idOf(n), endpoint(n)]));
  await book.change((state) => ({ ...state, endpoints }));
  Object.assign(memory.disk, { writes: 0, bytes: 0 });
  return { ...memory, book };
}

test('what an endpoint costs on the disk does not depend on how many there are', async () => {
  const { disk, open, book } = await fullBook();
  const bookText = disk.texts.get('docker.json');
  for (let n = 1_000; n < 1_010; n++) {
    await book.setAddress('blue', `10.5.0.${n}`, { since: n, isMoved: false, isReleasing: false });
    await book.changeEndpoint(idOf(n), () => endpoint(n));
  }
  await book.changeEndpoint(idOf(7), () => undefined);
  await book.setAddress('blue', '10.5.0.1000', undefined);
  assert.equal(disk.texts.get('docker.json'), bookText, 'the book is not written');
  assert.deepEqual([disk.writes, disk.appends], [1, 21], 'the first one begins the journal');
  assert.ok(disk.bytes < 10_000, `${disk.bytes} bytes`);
  const again = await open();
  assert.deepEqual(again.state, book.state);
  assert.equal(again.state.endpoints[idOf(7)], undefined);
  await again.changeEndpoint(idOf(8), () => undefined);
  assert.deepEqual((await open()).state, again.state, 'it goes on with the journal that it found');
});

test('a journal that is longer than the book goes into it, and at the end there is the book alone', async () => {
  const { disk, open } = memoryDisk();
  const book = await open();
  await book.change((state) => state);
  for (let n = 0; n < 3_000; n++) await book.changeEndpoint(idOf(n % 10), () => endpoint(n));
  assert.ok((disk.texts.get('docker.json.changes')?.length ?? 0) < 300_000);
  assert.ok(disk.writes < 10, `${disk.writes} writes of a whole file`);
  await book.changeEndpoint(idOf(1), () => endpoint(1));
  await book.close();
  disk.texts.delete('docker.json.changes');
  assert.deepEqual((await open()).state, book.state);
});

test('a journal of another text of the book does not count', async () => {
  const { disk, open, book } = await fullBook();
  await book.changeEndpoint(idOf(7), () => undefined);
  disk.texts.set('docker.json', (disk.texts.get('docker.json') ?? '').replace('"since":8}', '"since":9}'));
  assert.ok((await open()).state.endpoints[idOf(7)], 'written by a weft that knows no journal');
  disk.texts.set('docker.json.changes', 'no journal\n{"endpoint":["a",null]}\n');
  assert.equal(Object.keys((await open()).state.endpoints).length, 1_000);
});

test('a line that a crash cut off does not count, and nothing is added to it', async () => {
  const { disk, open, book } = await fullBook();
  await book.changeEndpoint(idOf(7), () => undefined);
  await book.changeEndpoint(idOf(8), () => undefined);
  const text = disk.texts.get('docker.json.changes') ?? '';
  disk.texts.set('docker.json.changes', text.slice(0, -5));
  const again = await open();
  assert.deepEqual([again.state.endpoints[idOf(7)], again.state.endpoints[idOf(8)]?.since], [undefined, 8]);
  await again.changeEndpoint(idOf(9), () => undefined);
  assert.deepEqual((await open()).state, again.state);
});

test('a full disk refuses an endpoint, and what could not be added is written with the whole book', async () => {
  const { disk, open, book } = await fullBook();
  await book.changeEndpoint(idOf(7), () => undefined);
  disk.isFull = true;
  await assert.rejects(
    book.changeEndpoint(idOf(1_000), () => endpoint(0)),
    { code: 'docker-state' },
  );
  disk.isFull = false;
  await book.changeEndpoint(idOf(8), () => undefined);
  const again = await open();
  assert.deepEqual(again.state, book.state);
  assert.ok(again.state.endpoints[idOf(1_000)]);
});

test('endpoints are found by address, port and tenant as they change', async () => {
  const { book } = await fullBook();
  assert.deepEqual(book.endpointAt('green', '10.5.0.7')?.[0], idOf(7));
  assert.equal(book.endpointAt('blue', '10.5.0.7'), undefined);
  await book.changeEndpoint(idOf(2_000), () => endpoint(7));
  assert.deepEqual(book.endpointAt('green', '10.5.0.7')?.[0], idOf(7), 'the first one');
  await book.changeEndpoint(idOf(7), () => undefined);
  assert.deepEqual(book.endpointAt('green', '10.5.0.7')?.[0], idOf(2_000));
  const port = portName(`abcdef0123456${'0'.repeat(51)}`);
  assert.equal(book.endpointOfPort(port), undefined);
  await book.changeEndpoint(`abcdef0123456${'0'.repeat(51)}`, () => ({ ...endpoint(3), tenant: 'red' }));
  assert.equal(book.endpointOfPort(port)?.[1].tenant, 'red');
  assert.deepEqual([book.hasEndpoints('red'), book.hasEndpoints('grey')], [true, false]);
  await book.change((state) => ({ ...state, endpoints: {} }));
  assert.deepEqual([book.hasEndpoints('red'), book.endpointOfPort(port)], [false, undefined]);
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
