import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { systemProgramFiles } from '#src/sys/program-files.ts';
import { asBrowserCode, PageFiles } from '#src/ui/server/page-files.ts';

test('types and their imports are gone, and imports lead to what is served', () => {
  const text = [
    "import type { Peer } from '#src/observe/api.ts';",
    "import uPlot from 'uplot';",
    "import { a, type B } from '#src/ui/model/a-b.ts';",
    'export const f = (peer: Peer, b: B): string => [uPlot, a, peer, b].join();',
  ].join('\n');
  const code = asBrowserCode(text);
  assert.ok(!code.includes('#src'), code);
  assert.match(code, /from '\/vendor\/uplot\.js';\nimport \{ a, {8,}\} from '\/model\/a-b\.ts';/);
  assert.equal(code.split('\n').length, 4);
});

test('every file that the page imports is served, as JavaScript', async () => {
  const files = new PageFiles(systemProgramFiles);
  const index = await files.read('/');
  const wanted = [...(index?.text ?? '').matchAll(/(?:src|href)="(\/[^"#]+)"/g)].map(([, path = '']) => path);
  assert.ok(wanted.length >= 4);
  const seen = new Set<string>();
  for (let path = wanted.pop(); path !== undefined; path = wanted.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const file = await files.read(path);
    assert.ok(file, path);
    if (!file.type.startsWith('text/javascript') || path.startsWith('/vendor/')) continue;
    wanted.push(...[...file.text.matchAll(/^import [^;]*?from '([^']+)'/gm)].map(([, to = '']) => to));
  }
  assert.ok(seen.has('/vendor/uplot.js') && seen.has('/model/topology.ts'));
  const all = ['page', 'model'].flatMap((folder) =>
    readdirSync(new URL(`../${folder}`, import.meta.url))
      .filter((name) => /\.(ts|css|svg)$/.test(name) && !name.endsWith('.test.ts'))
      .map((name) => `/${folder}/${name}`),
  );
  assert.deepEqual([...seen].filter((it) => !it.startsWith('/vendor/')).sort(), all.sort());
});

test('nothing else is served', async () => {
  const files = new PageFiles(systemProgramFiles);
  for (const path of [
    '/page/../server/access.ts',
    '/page/%2e%2e/x.ts',
    '/page/tsconfig.json',
    '/model/topology.test.ts',
    '/server/access.ts',
    '/vendor/constructor',
    '/page/missing.ts',
    '/index.html',
  ]) {
    assert.equal(await files.read(path), undefined, path);
  }
});
