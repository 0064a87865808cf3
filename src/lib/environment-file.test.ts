import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEnvironmentLine, parseEnvironmentFile } from '#src/lib/environment-file.ts';

const parse = (text: string) => Object.fromEntries(parseEnvironmentFile(text));

test('lines are names and values; comments and what assigns nothing are left out', () => {
  const text = '# A=1\n; B=2\n\n  C=3\nnonsense\nD =  4  \n9E=5\nexport F=6\nG=a#b ; c\nH=\n';
  assert.deepEqual(parse(text), { C: '3', D: '4', G: 'a#b ; c', H: '' });
});

test('quotes count where a value begins, and behind another quote', () => {
  const text = `A="a b"\nB='c "d"'\nC=x"y z"\nD="a" 'b'\nE="f"g h \n`;
  assert.deepEqual(parse(text), { A: 'a b', B: 'c "d"', C: 'x"y z"', D: 'ab', E: 'fg h' });
});

test('a backslash: in no quotes it takes the next character, in double ones only those that need it', () => {
  const text = String.raw`A=a\ \"b\\
B="a\"b\$c\d"
C='a\b'`;
  assert.deepEqual(parse(text), { A: 'a "b\\', B: 'a"b$c\\d', C: 'a\\b' });
});

test('lines go on after a backslash, comments do not', () => {
  assert.deepEqual(parse('A=one\\\ntwo\nB="x \\\ny"\n# C=1 \\\nD=2\nE=3'), {
    A: 'onetwo',
    B: 'x y',
    D: '2',
    E: '3',
  });
  assert.deepEqual(parse("A='first\nsecond'\nB=1"), { A: 'first\nsecond', B: '1' });
});

test('of a variable that is set twice the last counts', () => {
  assert.deepEqual(
    [...parseEnvironmentFile('A=1\nB=2\nA=3\n')],
    [
      ['B', '2'],
      ['A', '3'],
    ],
  );
});

test('what is formatted is read as it was', () => {
  const values = [
    '',
    'http://a:2379,http://b:2379',
    'a b',
    '$x `y` "z" \\',
    "it's",
    '-iface=eth0',
    '#',
    'ä\tö',
  ];
  for (const value of values) assert.deepEqual(parse(formatEnvironmentLine('A', value)), { A: value });
});
