import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Component, imageSbom, type Sbom } from './image-sbom.ts';
import { readLock } from './package-lock.ts';

const RELEASE: Sbom = {
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  serialNumber: 'urn:uuid:of-this-run',
  metadata: {
    timestamp: 'of this run',
    component: { type: 'library', name: 'weft', 'bom-ref': 'weft@0.1.0' },
  },
  components: [{ type: 'library', name: 'koffi', version: '3.3.4', 'bom-ref': 'koffi@3.3.4' }],
  dependencies: [{ ref: 'weft@0.1.0', dependsOn: ['koffi@3.3.4'] }],
};
const FACTS = {
  version: '0.1.0',
  created: 1_700_000_000,
  architecture: 'arm64',
  node: process.versions,
} as const;
const bill = imageSbom(RELEASE, readLock(), FACTS);

const all = (components: readonly Component[] = []): Component[] =>
  components.flatMap((it) => [it, ...all(it.components)]);

test('the bill names npm’s packages, Node with its parts, and Debian’s packages with their checksums', () => {
  const found = new Map(all(bill.components).map((it) => [it.name, it]));
  assert.equal(found.get('koffi')?.version, '3.3.4');
  assert.equal(found.get('node')?.version, process.versions.node);
  assert.equal(found.get('openssl')?.version, process.versions.openssl);
  assert.ok(!found.has('modules'));
  const libc = readLock().architectures.arm64.find(({ name }) => name === 'libc6');
  assert.match(found.get('libc6')?.purl ?? '', /^pkg:deb\/debian\/libc6@[^?]+\?arch=arm64&distro=debian-13$/);
  assert.deepEqual(found.get('libc6')?.hashes, [{ alg: 'SHA-256', content: libc?.sha256 }]);
});

test('a reference names one component, and every dependency is there', () => {
  const refs = [bill.metadata?.component, ...all(bill.components)].map((it) => it?.['bom-ref']);
  assert.equal(new Set(refs).size, refs.length);
  for (const { ref, dependsOn = [] } of bill.dependencies ?? [])
    for (const name of [ref, ...dependsOn]) assert.ok(refs.includes(name), name);
});

test('nothing in it is of this run', () => {
  const other = {
    ...RELEASE,
    serialNumber: 'urn:uuid:of-another',
    metadata: { ...RELEASE.metadata, timestamp: 'now' },
  };
  assert.deepEqual(imageSbom(other, readLock(), FACTS), bill);
  assert.doesNotMatch(JSON.stringify(bill), /of this run|of-this-run/);
  assert.match(
    bill.serialNumber ?? '',
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});

test('the fields are those of CycloneDX 1.5', () => {
  const types = ['application', 'library', 'container', 'platform', 'operating-system'];
  for (const { type, name, version, purl = 'pkg:none/x' } of all(bill.components)) {
    assert.ok(types.includes(type), `${name} is of type ${type}`);
    assert.ok(name !== '' && (version === undefined || version !== ''), name);
    assert.match(purl, /^pkg:[a-z]+\/[^ ]+$/);
  }
  assert.equal(bill.metadata?.component?.type, 'container');
  assert.match(`${bill.metadata?.timestamp}`, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});
