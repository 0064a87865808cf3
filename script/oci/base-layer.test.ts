import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addPackages } from './base-layer.ts';
import { LayerTree } from './layer.ts';
import type { TarEntry } from './tar.ts';

const entry = (path: string, more: Partial<TarEntry> = {}): TarEntry => ({
  ...{ path, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1, data: Buffer.from(path) },
  ...more,
});
const CONTROL = 'Package: x\nVersion: 1\n';

function treeOf(...entries: TarEntry[]): LayerTree {
  const tree = new LayerTree({ mtime: 0 });
  const base = [entry('lib', { type: 'symlink', target: 'usr/lib' }), entry('usr/lib', { type: 'folder' })];
  addPackages(tree, [
    [{ name: 'x' }, { control: CONTROL, md5sums: 'sums\n', entries }],
    [{ name: 'base-files' }, { control: CONTROL, md5sums: undefined, entries: base }],
  ]);
  return tree;
}

test('what is in /lib of a package goes to /usr/lib', () => {
  const tree = treeOf(entry('lib', { type: 'folder' }), entry('lib/libx.so'));
  assert.ok(tree.has('usr/lib/libx.so') && !tree.has('lib/libx.so'));
  assert.equal(tree.entries().find(({ path }) => path === 'lib')?.type, 'symlink');
});

test('a package’s pages stay out, its licence and its record do not', () => {
  const tree = treeOf(
    entry('usr/share/man/man8/x.8.gz'),
    entry('usr/share/doc/x/changelog.gz'),
    entry('usr/share/doc/x/copyright'),
    entry('usr/lib/x86_64-linux-gnu/gconv/BIG5.so'),
  );
  assert.deepEqual(
    tree
      .entries()
      .filter(({ type }) => type === 'file')
      .map(({ path, data }) => [path, data?.toString()]),
    [
      ['usr/share/doc/x/copyright', 'usr/share/doc/x/copyright'],
      ['var/lib/dpkg/status.d/base-files', `${CONTROL}Status: install ok installed\n`],
      ['var/lib/dpkg/status.d/x', `${CONTROL}Status: install ok installed\n`],
      ['var/lib/dpkg/status.d/x.md5sums', 'sums\n'],
    ],
  );
});
