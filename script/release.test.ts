import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../test/support/scratch-folder.ts';

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const run = (name: string, ...words: string[]) =>
  spawnSync(process.execPath, [script(name), ...words], { encoding: 'utf8' });

test('a folder with files of the user is not emptied for a release', (t) => {
  const folder = scratchFolder(t);
  writeFileSync(join(folder, 'letter.txt'), 'dear');
  const { status, stderr } = run('release.ts', `--to=${folder}`);
  assert.equal(status, 2);
  assert.match(stderr, /^release: --to=\S+ has files that are none of a release; .+\n$/);
  assert.deepEqual(readdirSync(folder), ['letter.txt']);
});

test('words that a script does not know are refused in one line', () => {
  for (const name of ['release', 'package', 'image'])
    for (const word of ['amd64', '--no-such']) {
      const { status, stderr } = run(`${name}.ts`, word);
      assert.notEqual(status, 0);
      assert.match(stderr, new RegExp(`^${name}: .*${word}.*\\n$`), `${name} ${word}`);
    }
});
