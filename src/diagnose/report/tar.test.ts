import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { tarArchive } from '#src/diagnose/report/tar.ts';

const tar = (input: Uint8Array, ...words: string[]): string =>
  execFileSync('tar', words, { input, env: { PATH: process.env.PATH, TZ: 'UTC' } }).toString();

test('tar reads the archive: names, sizes, rights, time and content', () => {
  const contents = ['', 'a', 'b'.repeat(511), 'c'.repeat(512), 'd'.repeat(1_025)];
  const files = contents.map((text, n) => ({ name: `folder/file-${n}`, content: Buffer.from(text) }));
  const archive = tarArchive(files, 1_795_118_643);
  assert.equal(archive.length % 512, 0);
  const lines = tar(archive, '-tvf', '-').trim().split('\n');
  assert.match(lines[2] ?? '', /^-rw------- root\/root +511 2026-11-19 20:04 folder\/file-2$/);
  assert.equal(lines.length, contents.length);
  for (const [n, text] of contents.entries())
    assert.equal(tar(archive, '-xOf', '-', `folder/file-${n}`), text);
  assert.throws(() => tarArchive([{ name: 'x'.repeat(101), content: Buffer.alloc(0) }], 0), RangeError);
});
