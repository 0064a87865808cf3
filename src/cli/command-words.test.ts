import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWords } from '#src/cli/command-words.ts';

const TABLE = {
  internal: { kind: 'bool', default: false, description: 'a switch' },
  vni: { kind: 'int', default: 0, description: 'a number' },
  aux: { kind: 'repeatable', default: [], description: 'a list' },
} as const;

test('flags stand anywhere, and a switch takes no word', () => {
  const parsed = parseWords(TABLE, ['--internal', 'blue', '--vni', '7', '-aux=a=1', 'red', '--aux', 'b=2']);
  assert.ok(parsed.outcome === 'parsed');
  assert.deepEqual(parsed.rest, ['blue', 'red']);
  assert.deepEqual(Object.fromEntries(parsed.given), { internal: true, vni: 7, aux: ['a=1', 'b=2'] });
});

test('what is wrong after the first word is found', () => {
  const parsed = parseWords(TABLE, ['blue', '--what']);
  assert.deepEqual(parsed, { outcome: 'invalid', message: 'flag provided but not defined: -what' });
  assert.equal(parseWords(TABLE, ['blue', '--help']).outcome, 'help');
});
