import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXECUTABLE, LINKS, programOf, RELEASE_PROGRAMS } from './release-programs.ts';

test('the last part of the path decides, and a name of no program is weft', () => {
  assert.equal(programOf('flanneld'), 'flanneld');
  assert.equal(programOf('/usr/bin/flanneld'), 'flanneld');
  assert.equal(programOf('./mk-docker-opts.sh'), 'mk-docker-opts');
  assert.equal(programOf('/flanneld/weft'), 'weft');
  for (const other of ['', '/', 'weft-0.2.0', 'flanneld.new', 'toString']) {
    assert.equal(programOf(other), 'weft', other);
  }
});

test('each program is there, and each name is of one program', () => {
  for (const { entry } of Object.values(RELEASE_PROGRAMS)) {
    assert.ok(existsSync(fileURLToPath(new URL(`../src/cli/${entry}`, import.meta.url))), entry);
  }
  const names = [EXECUTABLE, ...LINKS];
  assert.equal(new Set(names).size, names.length);
});
