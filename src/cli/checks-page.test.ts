import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checksPage } from '#src/cli/checks-page.ts';

test('docs/reference/checks.md is what script/generate-docs writes', () => {
  const page = readFileSync(new URL('../../docs/reference/checks.md', import.meta.url), 'utf8');
  assert.equal(page, checksPage(), 'run script/generate-docs');
});
