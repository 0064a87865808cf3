import assert from 'node:assert/strict';
import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemByteFiles } from '#src/sys/byte-files.ts';

test('a file that root makes in the folder of a service is given to its user', {
  skip: process.geteuid?.() !== 0 && 'needs root',
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'store.db');
  writeFileSync(file, '');
  chownSync(folder, 61_234, 61_235);
  await systemByteFiles.giveToFolder(file);
  const { uid, gid } = statSync(file);
  assert.deepEqual([uid, gid], [61_234, 61_235]);
});
