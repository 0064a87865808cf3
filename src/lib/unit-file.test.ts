import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastOf, listOf, parseUnitFile } from '#src/lib/unit-file.ts';

const parse = (text: string) =>
  parseUnitFile({ source: 'a.service', text }).map(({ section, key, value, line }) => [
    line,
    section,
    key,
    value,
  ]);

test('a unit is sections and assignments', () => {
  const text =
    '[Unit]\nDescription = a = b \n\n[Service]\n  Type=notify\nExecStart=/usr/bin/flanneld -ip-masq\n';
  assert.deepEqual(parse(text), [
    [2, 'Unit', 'Description', 'a = b'],
    [5, 'Service', 'Type', 'notify'],
    [6, 'Service', 'ExecStart', '/usr/bin/flanneld -ip-masq'],
  ]);
});

test('lines go on after a backslash, over comments, and to the end of the file', () => {
  const text = '[Service]\nExecStart=/a \\\n# not this\n  -b \\\n ; nor this\n  -c\nExecStop=/d \\';
  assert.deepEqual(parse(text), [
    [2, 'Service', 'ExecStart', '/a    -b    -c'],
    [7, 'Service', 'ExecStop', '/d'],
  ]);
});

test('two backslashes at the end are none that continues', () => {
  assert.deepEqual(parse('[Service]\nA=x\\\\\nB=y'), [
    [2, 'Service', 'A', 'x\\\\'],
    [3, 'Service', 'B', 'y'],
  ]);
});

test('what is no assignment is left out; CRLF and a byte order mark do not matter', () => {
  assert.deepEqual(parse('\ufeff[Service]\r\nnonsense\r\n=x\r\nA=\r\n#B=1\r\n'), [[4, 'Service', 'A', '']]);
});

const SERVICE = { section: 'Service', key: 'ExecStart' };

test('an empty assignment of a drop-in takes back those before it, in its section only', () => {
  const unit = { source: 'unit', text: '[Service]\nExecStart=/a\nExecStart=/b\n' };
  const other = { source: 'other', text: '[Socket]\nExecStart=\n' };
  const reset = { source: 'reset', text: '[Service]\nExecStart=\nExecStart=/c\n' };
  const values = (...files: (typeof unit)[]) => listOf(files, SERVICE).map(({ value }) => value);
  assert.deepEqual(values(unit, other), ['/a', '/b']);
  assert.deepEqual(values(unit, other, reset), ['/c']);
  assert.equal(listOf([unit, reset], SERVICE)[0]?.source, 'reset');
});

test('of a setting with one value the last counts', () => {
  const unit = { source: 'unit', text: '[Service]\nUser=root\n' };
  const drop = { source: 'drop', text: '[Service]\nUser=flannel\n' };
  const empty = { source: 'empty', text: '[Service]\nUser=\n' };
  const user = { section: 'Service', key: 'User' };
  assert.equal(lastOf([unit, drop], user)?.value, 'flannel');
  assert.equal(lastOf([unit, drop, empty], user), undefined);
});
