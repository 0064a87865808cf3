import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../test/support/scratch-folder.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What script/image.ts reads of a checkout. */
const SOURCES = ['script', 'packaging/image', 'src/lib', 'package.json', 'package-lock.json', 'LICENSE'];

/** Makes the images of a release in a checkout of its own, at a time of its own; the files by name. */
function build(folder: string, release: string): Map<string, Buffer> {
  for (const path of SOURCES) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const output = join(folder, 'out');
  const words = [
    join(folder, 'script/image.ts'),
    `--release=${release}`,
    `--output=${output}`,
    '--version=1.2.3',
  ];
  execFileSync(process.execPath, words, {
    cwd: folder,
    env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return new Map(readdirSync(output).map((name) => [name, readFileSync(join(output, name))]));
}

test('the same sources make the same images, bit by bit, wherever and whenever', (t) => {
  const release = scratchFolder(t);
  for (const folder of ['linux-x64', 'linux-arm64']) {
    mkdirSync(join(release, folder));
    writeFileSync(join(release, folder, 'weft'), `the executable for ${folder}`, { mode: 0o755 });
    for (const name of ['flanneld', 'mk-docker-opts', 'mk-docker-opts.sh'])
      symlinkSync('weft', join(release, folder, name));
  }
  writeFileSync(join(release, 'sbom.cdx.json'), '{"bomFormat":"CycloneDX","specVersion":"1.5","version":1}');
  const [one, other] = [build(scratchFolder(t), release), build(scratchFolder(t), release)];
  assert.deepEqual([...one.keys()].sort(), [
    'SHA256SUMS',
    'weft-1.2.3-image-arm64.cdx.json',
    'weft-1.2.3-image-x64.cdx.json',
    'weft-1.2.3-oci-arm64.tar',
    'weft-1.2.3-oci-x64.tar',
    'weft-1.2.3-oci.tar',
  ]);
  const sums = String(one.get('SHA256SUMS')).trimEnd().split('\n');
  assert.equal(sums.length, 5, 'what script/sign signs names each file');
  for (const [name, data] of one) assert.ok(other.get(name)?.equals(data), name);
});
