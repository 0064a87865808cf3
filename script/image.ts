import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '#src/lib/errors.ts';
import { VERSION } from '#src/lib/version.ts';
import { type Architecture, architecturesOf } from './architectures.ts';
import { addChecksums } from './checksums.ts';
import { baseTree } from './oci/base-layer.ts';
import { type Image, imageArchive } from './oci/image-archive.ts';
import { imageConfig, labelsOf } from './oci/image-config.ts';
import { imageSbom, type Sbom } from './oci/image-sbom.ts';
import { makeLayer } from './oci/layer.ts';
import { readLock } from './oci/package-lock.ts';
import { programTree } from './oci/program-layer.ts';
import { renewLock } from './oci/renew-lock.ts';
import { git, ROOT, sourceDate } from './source-tree.ts';

try {
  await main();
} catch (error) {
  process.stderr.write(`image: ${messageOf(error)}\n`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      lock: { type: 'boolean' },
      version: { type: 'string' },
      release: { type: 'string' },
      output: { type: 'string' },
    },
  });
  if (values.lock) return renewLock();
  const wanted = architecturesOf(positionals);

  const { version = VERSION } = values;
  const release = resolve(values.release ?? makeRelease(wanted, version));
  const output = resolve(values.output ?? join(ROOT, 'dist'));
  mkdirSync(output, { recursive: true });

  const facts = { version, revision: git('rev-parse', 'HEAD'), created: sourceDate() };
  const options = { name: `weft:${version}`, mtime: facts.created };
  const made: string[] = [];
  const write = (name: string, data: Buffer | string): void => {
    writeFileSync(join(output, name), data);
    made.push(name);
    process.stdout.write(`${name}\n`);
  };
  const images: Image[] = [];
  for (const architecture of wanted) {
    const image = await makeImage(release, architecture, facts);
    write(`weft-${version}-image-${architecture}.cdx.json`, image.sbom);
    write(`weft-${version}-oci-${architecture}.tar`, imageArchive([image], options));
    images.push(image);
  }
  if (images.length > 1) write(`weft-${version}-oci.tar`, imageArchive(images, options));
  addChecksums(output, made);
}

async function makeImage(
  release: string,
  architecture: Architecture,
  facts: Parameters<typeof imageConfig>[0],
): Promise<Image> {
  const lock = readLock();
  const base = makeLayer(await baseTree(lock, architecture));
  const place = { architecture, mtime: facts.created };
  const program = makeLayer(programTree(join(release, `linux-${architecture}`), place));
  const bill = JSON.parse(readFileSync(join(release, 'sbom.cdx.json'), 'utf8')) as Sbom;
  const sbom = imageSbom(bill, lock, { ...facts, architecture, node: process.versions });
  return {
    architecture,
    config: imageConfig(facts, lock, architecture, [base, program]),
    annotations: labelsOf(facts, lock),
    layers: [base, program],
    sbom: `${JSON.stringify(sbom, undefined, 2)}\n`,
  };
}

function makeRelease(wanted: readonly Architecture[], version: string): string {
  execFileSync(join(ROOT, 'script/release'), [...wanted, `--version=${version}`], { stdio: 'inherit' });
  return join(ROOT, 'dist');
}
