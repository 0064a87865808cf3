import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { scratchFolder } from '../../test/support/scratch-folder.ts';
import { ALL_ARCHITECTURES, ARCHITECTURES } from '../architectures.ts';
import { sha256Of } from '../checksums.ts';
import { fetchPackage, mirrorOf, readLock } from './package-lock.ts';

const DEB = Buffer.from('a package');
const WANTED = {
  name: 'libx',
  version: '1.0-1',
  architecture: 'all',
  archive: 'debian',
  path: 'pool/main/libx/libx_1.0-1_all.deb',
  sha256: sha256Of(DEB),
} as const;
const LOCK = { date: Date.UTC(2026, 10, 21, 9, 15, 44) / 1000 };

/** A mirror with these files. */
async function mirrorWith(t: TestContext, files: Readonly<Record<string, Buffer>>) {
  const asked: string[] = [];
  const server = createServer(({ url = '' }, response) => {
    asked.push(url);
    const file = files[url];
    response.statusCode = file === undefined ? 404 : 200;
    response.end(file);
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return { asked, mirror: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('a package is fetched once', async (t) => {
  const cache = scratchFolder(t);
  const { mirror, asked } = await mirrorWith(t, { [`/debian/${WANTED.path}`]: DEB });
  for (const _ of [1, 2]) assert.deepEqual(await fetchPackage(WANTED, LOCK, { cache, mirror }), DEB);
  assert.deepEqual(asked, [`/debian/${WANTED.path}`]);
});

test('a file in the cache with another checksum is fetched again', async (t) => {
  const cache = scratchFolder(t);
  const { mirror } = await mirrorWith(t, { [`/debian/${WANTED.path}`]: DEB });
  await fetchPackage(WANTED, LOCK, { cache, mirror });
  const [file = ''] = readdirSync(cache);
  writeFileSync(join(cache, file), 'half');
  assert.deepEqual(await fetchPackage(WANTED, LOCK, { cache, mirror }), DEB);
  assert.deepEqual(readFileSync(join(cache, file)), DEB);
});

test('another checksum is refused, and not kept', async (t) => {
  const cache = scratchFolder(t);
  const { mirror } = await mirrorWith(t, { [`/debian/${WANTED.path}`]: Buffer.from('another') });
  await assert.rejects(fetchPackage(WANTED, LOCK, { cache, mirror }), /has the checksum .* and not /);
  assert.deepEqual(readdirSync(cache), []);
});

test('a version that has left the mirror: the error names the way to renew the lock, and the archive that has it', async (t) => {
  const { mirror } = await mirrorWith(t, {});
  await assert.rejects(
    fetchPackage(WANTED, LOCK, { cache: scratchFolder(t), mirror }),
    ({ message }: Error) =>
      message.startsWith('libx 1.0-1 is not on the mirror any more') &&
      message.includes('"script/image --lock"') &&
      message.includes("WEFT_DEBIAN_MIRROR='https://snapshot.debian.org/archive/{archive}/20261121T091544Z'"),
  );
});

test('a mirror is one for both archives, or has a place for the name', () => {
  assert.equal(mirrorOf('debian-security', 'http://mirror/'), 'http://mirror/debian-security');
  assert.equal(mirrorOf('debian', 'https://s/archive/{archive}/2026'), 'https://s/archive/debian/2026');
});

test('the lock has the same packages in the same versions for both architectures', () => {
  const { architectures } = readLock();
  const named = ALL_ARCHITECTURES.map((architecture) => {
    for (const { architecture: word } of architectures[architecture])
      assert.ok([ARCHITECTURES[architecture].debian, 'all'].includes(word));
    return architectures[architecture].map(({ name }) => name);
  });
  assert.deepEqual(named[0], named[1]);
});
