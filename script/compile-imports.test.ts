import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { compileImports } from './compile-imports.ts';

/** The text of all files below a folder. */
const textBelow = (folder: string): string =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
    .join('');

test('what a file and those that it imports need of src/ is compiled, and none of them runs', (t) => {
  const folder = scratchFolder(t);
  const write = (name: string, ...lines: string[]): string => {
    writeFileSync(join(folder, name), lines.join('\n'));
    return join(folder, name);
  };
  write('support.ts', "export { parseIp } from '#src/lib/ip.ts';", "throw new Error('support runs');");
  const file = write(
    'a.test.ts',
    "import { parseIp } from './support.ts';",
    "const { parseMac } = await import('#src/lib/mac.ts');",
    "throw new Error('the test runs');",
  );
  const cache = join(folder, 'cache');
  compileImports([file], cache);
  const text = textBelow(cache);
  // Names in what V8 keeps of the two.
  for (const name of ['parseIp', 'parseMac']) assert.ok(text.includes(name), name);
});
