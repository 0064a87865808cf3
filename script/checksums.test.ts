import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { addChecksums, serialNumberOf } from './checksums.ts';

test('each file has one line, that of its last content, and sha256sum agrees', (t) => {
  const folder = scratchFolder(t);
  const put = (name: string, text: string) => writeFileSync(join(folder, name), text);
  put('a b', 'first');
  put('c', 'second');
  addChecksums(folder, ['a b', 'c']);
  put('c', 'third');
  addChecksums(folder, ['c']);
  const lines = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').split('\n');
  assert.deepEqual(
    lines.map((line) => line.slice(66)),
    ['a b', 'c', ''],
  );
  execFileSync('sha256sum', ['--check', '--quiet', '--strict', 'SHA256SUMS'], { cwd: folder });
});

test('a content has one number, another content another one', () => {
  assert.match(
    serialNumberOf('a'),
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.equal(serialNumberOf('a'), serialNumberOf('a'));
  assert.notEqual(serialNumberOf('a'), serialNumberOf('b'));
});
