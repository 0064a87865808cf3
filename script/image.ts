import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { VERSION } from '#src/lib/version.ts';
import { baseTree } from './oci/base-layer.ts';
import { type Image, imageArchive } from './oci/image-archive.ts';
import { imageConfig, labelsOf } from './oci/image-config.ts';
import { imageSbom, type Sbom } from './oci/image-sbom.ts';
import { makeLayer } from './oci/layer.ts';
import { ARCHITECTURES, type Architecture, readLock } from './oci/package-lock.ts';
import { programTree } from './oci/program-layer.ts';
import { renewLock } from './oci/renew-lock.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

try {
  await main();
} catch (error) {
  process.stderr.write(`image: ${(error as Error).message}\n`);
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
  const stranger = positionals.find((word) => !ARCHITECTURES.some((known) => known === word));
  if (stranger !== undefined)
    throw new Error(`no architecture ${stranger}, there are ${ARCHITECTURES.join(' and ')}`);
  const wanted = ARCHITECTURES.filter((known) => positionals.length === 0 || positionals.includes(known));

  const { version = VERSION } = values;
  const release = resolve(values.release ?? makeRelease(wanted, version));
  const output = resolve(values.output ?? join(ROOT, 'dist'));
  mkdirSync(output, { recursive: true });

  const facts = { version, revision: git('rev-parse', 'HEAD'), created: commitTime() };
  const options = { name: `weft:${version}`, mtime: facts.created };
  const write = (name: string, data: Buffer | string): void => {
    writeFileSync(join(output, name), data);
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

/** The commit's time, as a rebuild from an archive of the sources gives it: https://reproducible-builds.org/specs/source-date-epoch/ */
function commitTime(): number {
  const given = process.env.SOURCE_DATE_EPOCH ?? git('log', '-1', '--format=%ct');
  if (given === undefined)
    throw new Error('the time of the commit is not known; set SOURCE_DATE_EPOCH to it');
  return Number(given);
}

/** What git prints of the checkout; `undefined` where there is none. */
function git(...words: string[]): string | undefined {
  try {
    return execFileSync('git', words, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
