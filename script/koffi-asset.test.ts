import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8');

test('a release has all of koffi that the source uses', () => {
  const has: readonly string[] =
    /export const \{([^}]*)\} = loadNative/.exec(read('koffi-asset.ts'))?.[1]?.match(/\w+/g) ?? [];
  const sources = readdirSync(fileURLToPath(new URL('../src/sys', import.meta.url)))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => read(`../src/sys/${name}`));
  const used = new Set<string>(sources.flatMap((text) => text.match(/(?<=\bkoffi\.)(?!node')\w+/g) ?? []));
  assert.ok(used.size > 4);
  assert.deepEqual(
    [...used].filter((name) => !has.includes(name)),
    [],
  );
});

test('native code is loaded from no place that depends on where the executable lies', () => {
  const text = read('koffi-asset.ts');
  assert.doesNotMatch(text, /execPath|argv/);
  assert.match(text, /^const SHIPPED = '\/usr\/lib\/weft\/koffi\.node';$/m);
  assert.match(read('oci/program-layer.ts'), /'usr\/lib\/weft\/koffi\.node'/);
});
