import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from '#src/sys/make-folder.ts';

test('makeFolder() makes parents, and leaves alone what is there', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-folder-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'a', 'b', 'c');
  await makeFolder(path);
  await makeFolder(path);
  assert.ok(statSync(path).isDirectory());
});

test('makeFolder() fails where nothing can be made, and does not try for ever', async () => {
  await assert.rejects(makeFolder('/proc/none/deeper'), { code: 'ENOENT' });
});
