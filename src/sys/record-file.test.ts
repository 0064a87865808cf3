import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRecordFile } from '#src/sys/record-file.ts';

test('records are in the file after a flush and after the end, for its owner only', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-records-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'records');
  const file = createRecordFile(path);
  file.append(Buffer.from('one'));
  file.flush();
  assert.equal(readFileSync(path, 'utf8'), 'one');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  file.append(Buffer.from('two'));
  file.close();
  file.close();
  assert.equal(readFileSync(path, 'utf8'), 'onetwo');
});

test('on a full disk the file ends with a whole record', {
  skip: process.getuid?.() === 0 ? false : 'needs root',
}, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-records-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]);
  t.after(() => {
    execFileSync('umount', [folder]);
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 'records');
  const file = createRecordFile(path);
  for (let count = 0; count < 100; count++) file.append(new Uint8Array(1_000).fill(count));
  assert.throws(() => file.flush(), { code: 'ENOSPC' });
  file.append(new Uint8Array(1_000));
  file.flush();
  file.close();
  const { length } = readFileSync(path);
  assert.ok(length > 0 && length % 1_000 === 0, `${length}`);
});
