import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../../test/support/scratch-folder.ts';
import { readTar, type TarEntry, writeTar } from './tar.ts';

const LONG = `${'folder/'.repeat(30)}file`;
const owner = { uid: 0, gid: 0, mtime: 1_700_000_000 } as const;
const ENTRIES: readonly TarEntry[] = [
  { path: 'usr', type: 'folder', mode: 0o755, ...owner },
  { path: 'usr/tool', type: 'file', mode: 0o4755, ...owner, uid: 65532, data: Buffer.from('tool') },
  { path: 'usr/again', type: 'link', mode: 0o755, ...owner, target: 'usr/tool' },
  { path: 'usr/link', type: 'symlink', mode: 0o777, ...owner, target: `../${LONG}` },
  { path: LONG, type: 'file', mode: 0o600, ...owner, data: Buffer.alloc(513, 1) },
  { path: 'empty', type: 'file', mode: 0o600, ...owner, data: Buffer.alloc(0) },
];

test('what is written is read again', () => {
  assert.deepEqual([...readTar(writeTar(ENTRIES))], ENTRIES);
});

test('GNU tar lists what is written, with its owners and times', () => {
  const listed = execFileSync('tar', ['--utc', '--numeric-owner', '-tvf', '-'], {
    input: writeTar(ENTRIES),
    encoding: 'utf8',
  });
  const words = listed
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/));
  assert.deepEqual(
    words.map((row) => row[0]),
    ['drwxr-xr-x', '-rwsr-xr-x', 'hrwxr-xr-x', 'lrwxrwxrwx', '-rw-------', '-rw-------'],
  );
  assert.deepEqual(words[1]?.slice(1, 6), ['65532/0', '4', '2023-11-14', '22:13', 'usr/tool']);
  assert.equal(words[4]?.[5], LONG);
});

for (const format of ['gnu', 'pax', 'ustar'])
  test(`an archive of tar --format=${format} is read`, (t) => {
    const folder = scratchFolder(t);
    // ustar has no longer ones.
    const name = format === 'ustar' ? `${'f'.repeat(90)}/${'g'.repeat(90)}` : LONG;
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), 'text', { mode: 0o640 });
    const target = format === 'ustar' ? 'target' : `${name}${name}`;
    symlinkSync(target, join(folder, 'link'));
    const archive = execFileSync('tar', [`--format=${format}`, '-C', folder, '-c', '.']);
    const entries = new Map([...readTar(archive)].map((entry) => [entry.path, entry]));
    assert.equal(entries.get(name)?.data?.toString(), 'text');
    assert.equal(entries.get(name)?.mode, 0o640);
    assert.equal(entries.get('link')?.target, target);
    assert.ok(!entries.has(''));
  });

test('a device is refused', () => {
  const archive = writeTar(ENTRIES.slice(0, 1));
  archive.write('3', 156);
  assert.throws(() => [...readTar(archive)], /tar: usr is of type 3/);
});
