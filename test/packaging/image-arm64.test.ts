import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { VERSION } from '#src/lib/version.ts';
import { readTar } from '../../script/oci/tar.ts';
import { builtImage } from '../support/image.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * The image for arm64, its layers unpacked on a machine of another architecture:
 *
 *   qemu-aarch64-static ── usr/sbin/nft, usr/bin/weft, … of the image, with the libraries of the image
 */
const skip =
  process.arch === 'arm64'
    ? 'this machine is one of arm64: test/packaging/image.test.ts runs the same'
    : cannotRun('qemu-aarch64-static', 'xz');

test('the image for arm64 says so, and all of its programs find their libraries in it', {
  skip,
}, async (t) => {
  const { archive } = await builtImage({ architecture: 'arm64' });
  const blobs = new Map([...readTar(readFileSync(archive))].map(({ path, data }) => [path, data]));
  const read = (path: string): Buffer => blobs.get(path) ?? Buffer.alloc(0);
  const [{ Config, Layers }] = JSON.parse(read('manifest.json').toString()) as [
    { Config: string; Layers: string[] },
  ];
  const { architecture, variant, os } = JSON.parse(read(Config).toString());
  assert.deepEqual({ architecture, variant, os }, { architecture: 'arm64', variant: 'v8', os: 'linux' });

  const root = scratchFolder(t);
  for (const layer of Layers) unpack(read(layer), root);
  const run = (program: string, ...words: string[]): string => {
    const argv = ['-L', root, join(root, program), ...words];
    const { status, stdout, stderr } = spawnSync('qemu-aarch64-static', argv, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout + stderr;
  };
  // These two open a socket of a kind that qemu does not know, so their libraries are only looked up.
  const librariesOf = (program: string) =>
    run('usr/lib/ld-linux-aarch64.so.1', '--list', join(root, program));
  assert.match(librariesOf('usr/sbin/nft'), /^\s+libnftables\.so\.1 => /m);
  assert.match(librariesOf('usr/sbin/iptables'), /^\s+libnftnl\.so\.11 => /m);
  assert.match(run('usr/sbin/iptables-legacy', '--version'), /^iptables v.* \(legacy\)/);
  assert.match(run('usr/bin/ip', '-V'), /^ip utility/);
  assert.match(run('usr/bin/ping', '-V'), /^ping from iputils/);
  assert.match(run('opt/bin/flanneld', '--version'), new RegExp(`^v${VERSION} \\(weft\\)$`, 'm'));
});

function unpack(layer: Buffer, root: string): void {
  for (const { path, type, data, target = '', mode } of readTar(gunzipSync(layer))) {
    const place = join(root, path);
    if (type === 'folder') mkdirSync(place, { recursive: true });
    else if (type === 'symlink') symlinkSync(target, place);
    else if (type === 'file') {
      writeFileSync(place, data ?? '');
      chmodSync(place, mode);
    } else throw new Error(`a link: ${path}`);
  }
}
