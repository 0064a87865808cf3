import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('an error is its message, and after a semicolon what to do', () => {
  assert.equal(messageOf(new WeftError('x', 'no lease', { remedy: 'add subnets' })), 'no lease; add subnets');
  assert.equal(messageOf(new WeftError('x', 'no lease')), 'no lease');
  assert.equal(messageOf(new TypeError('oops')), 'oops');
  assert.equal(messageOf('text'), 'text');
});

test('the reason of an abort is not a failure', () => {
  assert.equal(isAbort(AbortSignal.abort().reason), true);
  assert.equal(isAbort(new DOMException('late', 'TimeoutError')), false);
  assert.equal(isAbort(new WeftError('x', 'AbortError')), false);
});

test('docs/reference/errors.md lists the errors of the code, and no others', () => {
  const files = globSync('src/**/*.ts', { cwd: ROOT }).filter((name) => !name.endsWith('.test.ts'));
  const inCode = files.flatMap((name) => {
    const text = readFileSync(`${ROOT}/${name}`, 'utf8');
    const thrown = text.matchAll(/new WeftError\(\s*'([^']+)'/g);
    const derived = /extends WeftError/.test(text) ? text.matchAll(/super\(\s*'([^']+)'/g) : [];
    return [...thrown, ...derived].map((match) => match[1] ?? '');
  });
  const page = readFileSync(`${ROOT}/docs/reference/errors.md`, 'utf8');
  const onPage = Array.from(page.matchAll(/^\| ([^|]+) \|/gm), (match) => match[1] ?? '').flatMap((cell) =>
    Array.from(cell.matchAll(/`([^`]+)`/g), (match) => match[1] ?? ''),
  );
  assert.deepEqual(new Set(onPage.sort()), new Set(inCode.sort()));
});
