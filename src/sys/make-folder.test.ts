import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from '#src/sys/make-folder.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

test('makeFolder() makes parents, and leaves alone what is there', async (t) => {
  const folder = scratchFolder(t);
  const path = join(folder, 'a', 'b', 'c');
  await makeFolder(path);
  await makeFolder(path);
  assert.ok(statSync(path).isDirectory());
});

test('makeFolder() fails where nothing can be made, and does not try for ever', async () => {
  await assert.rejects(makeFolder('/proc/none/deeper'), { code: 'ENOENT' });
});
