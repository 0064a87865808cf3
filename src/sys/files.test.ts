import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemFiles } from '#src/sys/files.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

test('a file is replaced, not written over: a reader of the old one reads it to its end', async (t) => {
  const folder = scratchFolder(t);
  const path = join(folder, 'file');
  writeFileSync(path, 'old');
  const { ino } = statSync(path);
  await systemFiles.writeAtomically(path, 'new', 0o600);
  assert.equal(readFileSync(path, 'utf8'), 'new');
  assert.notEqual(statSync(path).ino, ino);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(folder), ['file']);
});

test('a symlink stays a symlink, whether its target is there yet or not', async (t) => {
  const folder = scratchFolder(t);
  mkdirSync(join(folder, 'real'));
  const target = join(folder, 'real', 'file');
  const link = join(folder, 'link');
  symlinkSync('real/file', link);
  for (const text of ['first', 'second']) {
    await systemFiles.writeAtomically(link, text);
    assert.equal(readFileSync(target, 'utf8'), text);
    assert.ok(lstatSync(link).isSymbolicLink());
  }
});

test('a pipe is written to and stays a pipe', async (t) => {
  const pipe = join(scratchFolder(t), 'pipe');
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  // Read and write: neither end waits for the other.
  const reader = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(reader));
  await systemFiles.writeAtomically(pipe, 'text');
  const got = Buffer.alloc(16);
  assert.equal(got.toString('utf8', 0, readSync(reader, got)), 'text');
  assert.ok(lstatSync(pipe).isFIFO());
});

test('a file that can’t be replaced stays as it was, and no temporary file is left', async (t) => {
  const folder = scratchFolder(t);
  mkdirSync(join(folder, 'path'));
  await assert.rejects(systemFiles.writeAtomically(join(folder, 'path'), 'new'), { code: 'EISDIR' });
  writeFileSync(join(folder, 'file'), 'old');
  await assert.rejects(systemFiles.writeAtomically(join(folder, 'file', 'below'), 'new'), {
    code: 'ENOTDIR',
  });
  assert.deepEqual(readdirSync(folder).sort(), ['file', 'path']);
  assert.equal(readFileSync(join(folder, 'file'), 'utf8'), 'old');
});

test('of many that create one file exclusively one succeeds, and no temporary file is left', async (t) => {
  const path = join(scratchFolder(t), 'folder', 'file');
  const created = await Promise.all(
    Array.from({ length: 10 }, (_, n) => systemFiles.createExclusively(path, `text ${n}`)),
  );
  assert.equal(created.filter(Boolean).length, 1);
  assert.equal(readFileSync(path, 'utf8'), `text ${created.indexOf(true)}`);
  assert.equal(statSync(path).mode & 0o777, 0o644);
  assert.deepEqual(readdirSync(join(path, '..')), ['file']);
  assert.equal(await systemFiles.createExclusively(path, 'late'), false);
  assert.equal(readFileSync(path, 'utf8'), `text ${created.indexOf(true)}`);
});

test('a socket is there, though it can not be read', async (t) => {
  const path = join(scratchFolder(t), 'socket');
  assert.equal(systemFiles.exists(path), false);
  const server = createServer().listen(path);
  await once(server, 'listening');
  assert.equal(systemFiles.exists(path), true);
  server.close();
});
