import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSpecifiers, replaceVariables, unitCommands, unitWords } from '#src/lib/unit-words.ts';

test('words are separated by blanks and joined by quotes', () => {
  assert.deepEqual(unitWords(`a  "b c" 'd "e"' f"g h"i ""`), ['a', 'b c', 'd "e"', 'fg hi', '']);
  assert.deepEqual(unitWords('  '), []);
  assert.deepEqual(unitWords('"not closed'), ['not closed']);
});

test('C escapes are replaced, in quotes too, and unknown ones stay', () => {
  assert.deepEqual(unitWords(String.raw`a\sb "c\"d" 'e\x41\101\u00e4' \d`), ['a b', 'c"d', 'eAAä', '\\d']);
});

test('a command has marks, a program and words', () => {
  assert.deepEqual(unitCommands('-!/usr/bin/flanneld "-iface=eth0"'), [
    { marks: '-!', program: '/usr/bin/flanneld', words: ['-iface=eth0'] },
  ]);
  assert.deepEqual(unitCommands('@/bin/sh flanneld -c'), [{ marks: '@', program: '/bin/sh', words: ['-c'] }]);
  assert.deepEqual(unitCommands(''), []);
});

test('a lone semicolon separates commands; a quoted or escaped one does not', () => {
  const programs = unitCommands(String.raw`/a x ; /b ";" \; y`).map(({ program, words }) => [
    program,
    ...words,
  ]);
  assert.deepEqual(programs, [
    ['/a', 'x'],
    ['/b', ';', ';', 'y'],
  ]);
});

test('variables: within a word in braces, as a word of their own split, two dollars are one', () => {
  const environment = { A: 'one two', OPTIONS: `-x "y z"`, EMPTY: '' };
  // biome-ignore lint/suspicious/noTemplateCurlyInString: systemd's syntax.
  const words = ['-a=${A}', '$OPTIONS', '$EMPTY', '$NONE', '${NONE}', '$$A', 'x$A'];
  assert.deepEqual(replaceVariables(words, environment), ['-a=one two', '-x', 'y z', '', '$A', 'x$A']);
});

test('no value is taken from the prototype of an object', () => {
  assert.deepEqual(replaceVariables(['$constructor'], {}), []);
});

test('%% is a per cent sign, and other specifiers are listed', () => {
  assert.deepEqual(readSpecifiers('100%% of %H'), { text: '100% of %H', left: ['%H'] });
});
