import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { compileAhead } from './compile-ahead.ts';

const body = 'let sum = 0; for (const one of list) sum += one.weight * 2 + list.length; return { sum };';
const TEXT = [
  '(function (exports) {',
  '// src/ours.ts',
  `class Ours { weigh(list) { ${body} } }`,
  '// node_modules/theirs/index.js',
  `function theirs(list) { ${body.replaceAll('sum', 'other')} }`,
  'exports.all = { Ours, theirs };',
  '})',
].join('\n');

test('what is wanted is in the cache, without having been called, and V8 takes it', () => {
  const [none, ours, all] = [() => false, (path: string) => path.startsWith('src/'), () => true].map(
    (wanted) => {
      const cachedData = compileAhead(TEXT, wanted);
      assert.equal(new Script(TEXT, { cachedData, filename: 'other.cjs' }).cachedDataRejected, false);
      return cachedData.length;
    },
  );
  assert.ok(none !== undefined && ours !== undefined && all !== undefined);
  assert.ok(none < ours && ours < all, `${none} < ${ours} < ${all} bytes`);
});
