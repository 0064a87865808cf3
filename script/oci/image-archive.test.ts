import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Of } from '../checksums.ts';
import { type Image, imageArchive } from './image-archive.ts';
import { readTar } from './tar.ts';

const image = (architecture: Image['architecture']): Image => ({
  architecture,
  config: { architecture },
  annotations: { 'org.opencontainers.image.title': 'weft' },
  layers: [
    { blob: Buffer.from(`base ${architecture}`), diffId: 'sha256:1' },
    { blob: Buffer.from('program'), diffId: 'sha256:2' },
  ],
  sbom: `bill ${architecture}`,
});
const OPTIONS = { name: 'weft:0.1.0', mtime: 1 } as const;

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

function open(archive: Buffer) {
  const files = new Map([...readTar(archive)].map(({ path, data }) => [path, data]));
  const text = (path: string): string => files.get(path)?.toString() ?? '';
  return {
    files,
    json: (path: string) => JSON.parse(text(path)),
    blob: ({ digest }: Descriptor) => JSON.parse(text(`blobs/${digest.replace(':', '/')}`)),
    text: ({ digest }: Descriptor) => text(`blobs/${digest.replace(':', '/')}`),
  };
}

test('every blob is named by its checksum, and every descriptor finds its blob', () => {
  const { files } = open(imageArchive([image('x64'), image('arm64')], OPTIONS));
  const blobs = [...files].filter(([path, data]) => path.startsWith('blobs/') && data !== undefined);
  for (const [path, data] of blobs) assert.equal(path, `blobs/sha256/${sha256Of(data ?? Buffer.alloc(0))}`);
  for (const [, data] of files)
    for (const [, digest, size] of data?.toString().matchAll(/"digest":"sha256:(\w+)","size":(\d+)/g) ?? [])
      assert.equal(files.get(`blobs/sha256/${digest}`)?.length, Number(size));
});

test('one image: an index with its platform and its bill of materials, and Docker’s own manifest of the same blobs', () => {
  const archive = open(imageArchive([image('x64')], OPTIONS));
  assert.equal(archive.json('oci-layout').imageLayoutVersion, '1.0.0');
  const [named] = archive.json('index.json').manifests as Descriptor[];
  assert.ok(named);
  assert.equal(named.annotations?.['io.containerd.image.name'], 'docker.io/library/weft:0.1.0');
  const [manifest, sbom] = archive.blob(named).manifests as Descriptor[];
  assert.ok(manifest && sbom);
  assert.deepEqual(manifest.platform, { architecture: 'amd64', os: 'linux' });
  const { config, layers } = archive.blob(manifest) as { config: Descriptor; layers: Descriptor[] };
  const path = ({ digest }: Descriptor): string => `blobs/${digest.replace(':', '/')}`;
  assert.deepEqual(archive.json('manifest.json'), [
    { Config: path(config), RepoTags: ['weft:0.1.0'], Layers: layers.map(path) },
  ]);
  assert.equal(sbom.platform?.architecture, 'unknown');
  const referrer = archive.blob(sbom) as { subject: Descriptor; layers: [Descriptor] };
  assert.equal(referrer.subject.digest, manifest.digest);
  assert.equal(archive.text(referrer.layers[0]), 'bill x64');
});

test('two images: one index with both platforms, what they share once, and nothing for engines that know one only', () => {
  const archive = open(imageArchive([image('x64'), image('arm64')], OPTIONS));
  const [named] = archive.json('index.json').manifests as Descriptor[];
  assert.ok(named);
  const { manifests } = archive.blob(named) as { manifests: Descriptor[] };
  assert.deepEqual(
    manifests.map(({ platform }) => platform?.architecture),
    ['amd64', 'arm64', 'unknown', 'unknown'],
  );
  const shared = manifests.slice(0, 2).map((it) => (archive.blob(it) as { layers: Descriptor[] }).layers[1]);
  assert.deepEqual(shared[0], shared[1]);
  assert.ok(!archive.files.has('manifest.json'));
});
