import assert from 'node:assert/strict';
import { test } from 'node:test';
import { architecturesOf } from './architectures.ts';

test('words name architectures, no word names all, and a stranger is refused', () => {
  assert.deepEqual(architecturesOf([]), ['x64', 'arm64']);
  assert.deepEqual(architecturesOf(['arm64']), ['arm64']);
  assert.deepEqual(architecturesOf(['arm64', 'x64']), ['x64', 'arm64']);
  for (const word of ['amd64', 'toString'])
    assert.throws(
      () => architecturesOf([word]),
      new Error(`no architecture ${word}, there are x64 and arm64`),
    );
});
