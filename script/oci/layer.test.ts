import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { sha256Of } from '../checksums.ts';
import { LayerTree, makeLayer } from './layer.ts';
import { readTar } from './tar.ts';

const tree = () => new LayerTree({ mtime: 1_700_000_000 });

test('members are sorted, and folders that nobody named are root’s', () => {
  const layer = tree();
  layer.file('usr/bin/tool', 'tool', 0o755);
  layer.folder('var/lib/store', 0o700, 65532);
  layer.symlink('bin', 'usr/bin');
  layer.add({ path: 'a', type: 'link', mode: 0o755, uid: 0, gid: 0, mtime: 0, target: 'usr/bin/tool' });
  assert.deepEqual(
    layer.entries().map(({ path, mode, uid }) => [path, mode.toString(8), uid]),
    [
      ['bin', '777', 0],
      ['usr', '755', 0],
      ['usr/bin', '755', 0],
      ['usr/bin/tool', '755', 0],
      ['var', '755', 0],
      ['var/lib', '755', 0],
      ['var/lib/store', '700', 65532],
      ['a', '755', 0],
    ],
  );
});

test('a file that comes twice, and one below a link, are refused', () => {
  const layer = tree();
  layer.folder('usr/lib');
  layer.folder('usr/lib');
  layer.symlink('lib', 'usr/lib');
  layer.file('etc/x', '');
  assert.throws(() => layer.file('etc/x', ''), /two packages have the file \/etc\/x/);
  assert.throws(() => layer.file('lib/y', ''), /\/lib\/y is below \/lib, which is a symlink/);
});

test('a layer is the gzip of its archive, the same whatever the order of the calls', () => {
  const [one, two] = [tree(), tree()];
  one.file('a', '1');
  one.file('b', '2');
  two.file('b', '2');
  two.file('a', '1');
  const { blob, diffId } = makeLayer(one);
  assert.deepEqual(makeLayer(two), { blob, diffId });
  const archive = gunzipSync(blob);
  assert.equal(diffId, `sha256:${sha256Of(archive)}`);
  assert.deepEqual(
    [...readTar(archive)].map(({ path, mtime }) => [path, mtime]),
    [
      ['a', 1_700_000_000],
      ['b', 1_700_000_000],
    ],
  );
});
