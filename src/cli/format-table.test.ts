import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable, wrapText } from '#src/cli/format-table.ts';

const LONG = 'a text that is longer than the line has room for';

test('columns are as wide as their widest cell, and no line ends with a blank', () => {
  assert.deepEqual(
    formatTable([
      ['NAME', 'VNI', 'NOTE'],
      ['blue', '10000', ''],
      ['a', '7', 'x'],
    ]),
    ['NAME  VNI    NOTE', 'blue  10000', 'a     7      x'],
  );
});

test('numbers end at the same place', () => {
  assert.deepEqual(
    formatTable(
      [
        ['N', 'MS'],
        ['a', '0.4'],
        ['b', '112.0'],
      ],
      { right: [1] },
    ),
    ['N     MS', 'a    0.4', 'b  112.0'],
  );
});

test('the widest of the columns that may be cut is cut until the line fits', () => {
  const lines = formatTable(
    [
      ['NAME', 'WHY', 'SINCE'],
      ['blue', LONG, '5 s'],
    ],
    { width: 40, cut: [0, 1] },
  );
  assert.deepEqual(lines, [
    'NAME  WHY                          SINCE',
    'blue  a text that is longer than…  5 s',
  ]);
});

test('a column that must not be cut is never cut', () => {
  const [, line] = formatTable([['A'], [LONG]], { width: 10 });
  assert.equal(line, LONG);
  const [, both] = formatTable(
    [
      ['A', 'B'],
      [LONG, LONG],
    ],
    { width: 10, cut: [1] },
  );
  assert.equal(both, `${LONG}  a text …`);
});

test('colours take no room', () => {
  const rows = [
    ['STATE', 'PEER'],
    [{ text: 'up', tone: 'good' }, 'a'],
    [{ text: 'down', tone: 'bad' }, 'b'],
  ] as const;
  assert.deepEqual(formatTable(rows), ['STATE  PEER', 'up     a', 'down   b']);
  assert.deepEqual(formatTable(rows, { hasColour: true }), [
    'STATE  PEER',
    '\x1b[32mup\x1b[0m     a',
    '\x1b[31mdown\x1b[0m   b',
  ]);
});

test('what a stranger wrote does not reach the terminal', () => {
  assert.deepEqual(
    formatTable([
      ['A', 'B'],
      ['\x1b[2J', '容器'],
    ]),
    ['A     B', '�[2J  容器'],
  );
});

test('sentences in the last column go on below their beginning', () => {
  const rows = [
    ['TIME', 'EVENT'],
    ['12:00:00', LONG],
    ['12:00:01', 'short'],
  ];
  assert.deepEqual(formatTable(rows, { width: 36, wrap: true }), [
    'TIME      EVENT',
    '12:00:00  a text that is longer than',
    '          the line has room for',
    '12:00:01  short',
  ]);
});

test('a word that is longer than a line is cut in pieces', () => {
  assert.deepEqual(wrapText('go 0123456789ab on', 6), ['go', '012345', '6789ab', 'on']);
  assert.deepEqual(wrapText('', 6), ['']);
});
