import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { flagsPage, usageText } from '#src/cli/flanneld-help.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';

test('docs/reference/flags.md is what script/generate-docs writes', () => {
  const page = readFileSync(new URL('../../docs/reference/flags.md', import.meta.url), 'utf8');
  assert.equal(page, flagsPage());
});

test('page and usage have every flag, once', () => {
  for (const name of Object.keys(FLANNELD_FLAGS)) {
    assert.equal(flagsPage().split(new RegExp(`^\\| \`--${name}[ \`]`, 'm')).length, 2, name);
    assert.equal(usageText().split(new RegExp(`^  -${name}[ \\n]`, 'm')).length, 2, name);
  }
});
