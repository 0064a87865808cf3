import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseParagraphs, resolvePackages } from './resolve-packages.ts';

const LIST = parseParagraphs(`Package: tool
Version: 1.0-1
Architecture: amd64
Depends: liba (>= 1), libb | libc, debconf (>= 0.5) | debconf-2.0
Pre-Depends: base:any
Filename: pool/main/t/tool_1.0-1_amd64.deb
Description: a tool
 with a second line
 .
 and a third
SHA256: 11

Package: liba
Version: 1.0-1
Architecture: amd64
Depends: tool
SHA256: 22


Package: libb
Version: 1
SHA256: 33

Package: base
Version: 1
SHA256: 44

Package: stranger
Version: 1
`);
const SECURITY = parseParagraphs('Package: liba\nVersion: 1.0-1+deb13u1\nSHA256: 55\n');

test('a field goes on in indented lines', () => {
  assert.equal(LIST[0]?.Description, 'a tool\n with a second line\n .\n and a third');
  assert.equal(LIST[0]?.SHA256, '11');
  assert.equal(LIST.length, 5);
});

test('what is wanted comes with all that it depends on, the first of alternatives', () => {
  const found = resolvePackages([{ archive: 'debian', paragraphs: LIST }], ['tool']);
  assert.deepEqual(
    found.map(({ name }) => name),
    ['base', 'liba', 'libb', 'tool'],
  );
  assert.deepEqual(found[3], {
    name: 'tool',
    version: '1.0-1',
    architecture: 'amd64',
    archive: 'debian',
    path: 'pool/main/t/tool_1.0-1_amd64.deb',
    sha256: '11',
  });
});

test('the highest version of all lists is taken, whatever their order', () => {
  const lists = [
    { archive: 'debian', paragraphs: LIST },
    { archive: 'debian-security', paragraphs: SECURITY },
  ] as const;
  for (const order of [lists, lists.toReversed()]) {
    const found = resolvePackages(order, ['liba']).find(({ name }) => name === 'liba');
    assert.deepEqual([found?.version, found?.archive], ['1.0-1+deb13u1', 'debian-security']);
  }
});

test('a package that no list has is an error', () => {
  assert.throws(
    () => resolvePackages([{ archive: 'debian', paragraphs: LIST }], ['libc']),
    /the package libc$/,
  );
});
