import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { messageOf } from '#src/lib/errors.ts';
import { VERSION } from '#src/lib/version.ts';
import {
  ARCHITECTURES,
  type Architecture,
  makeBundles,
  makeExecutable,
  type NativeParts,
} from './release-executable.ts';
import { EXECUTABLE } from './release-programs.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const { values: given, positionals } = readArguments();
const wanted = ARCHITECTURES.filter((known) => positionals.length === 0 || positionals.includes(known));
const dist = resolve(given.to);

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
const work = mkdtempSync(join(tmpdir(), 'weft-release-'));
try {
  const bundles = await makeBundles(work, given.version);
  for (const architecture of wanted) {
    const name = `linux-${architecture}`;
    mkdirSync(join(dist, name));
    makeExecutable(join(dist, name), architecture, bundles, partsFor(architecture));
    process.stdout.write(`${join(given.to, name, EXECUTABLE)}\n`);
  }
} finally {
  rmSync(work, { recursive: true });
}
writeFileSync(join(dist, 'sbom.cdx.json'), billOfMaterials());
const files = [...wanted.map((architecture) => `linux-${architecture}/${EXECUTABLE}`), 'sbom.cdx.json'];
writeFileSync(join(dist, 'SHA256SUMS'), files.map(checksum).join(''));

function readArguments() {
  try {
    const read = parseArgs({
      allowPositionals: true,
      options: {
        version: { type: 'string', default: VERSION },
        to: { type: 'string', default: 'dist' },
      },
    });
    const stranger = read.positionals.find((word) => !ARCHITECTURES.some((known) => known === word));
    if (stranger !== undefined) {
      throw new Error(`no architecture ${stranger}, there are ${ARCHITECTURES.join(' and ')}`);
    }
    if (!/^\d[\w.+~-]*$/.test(read.values.version)) {
      throw new Error(`--version=${read.values.version} is no version, such as 1.2.3`);
    }
    return read;
  } catch (error) {
    process.stderr.write(`release: ${messageOf(error)}\n`);
    process.exit(2);
  }
}

/** Node and koffi's native part for an architecture: this machine's are installed, another's are fetched. */
function partsFor(architecture: Architecture): NativeParts {
  let folder = join(ROOT, 'node_modules');
  if (architecture !== process.arch) {
    const packages = [
      `node-linux-${architecture}@${process.versions.node}`,
      `@koromix/koffi-linux-${architecture}@${installed('koffi')}`,
    ];
    const place = join(work, architecture);
    mkdirSync(place);
    npm('install', `--prefix=${place}`, `--cpu=${architecture}`, '--os=linux', '--no-save', ...packages);
    folder = join(place, 'node_modules');
  }
  return {
    node: join(folder, `node-linux-${architecture}/bin/node`),
    koffi: join(folder, `@koromix/koffi-linux-${architecture}/linux_${architecture}/koffi.node`),
  };
}

function installed(name: string): string {
  const file = join(ROOT, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** CycloneDX as npm writes it, of this version, at the commit's time and with a number that its content gives. */
function billOfMaterials(): string {
  const bill = JSON.parse(npm('sbom', '--package-lock-only', '--omit=dev', '--sbom-format=cyclonedx')) as {
    serialNumber: string;
    metadata: { timestamp: string; component: { version: string } };
  };
  bill.serialNumber = '';
  bill.metadata.timestamp = new Date(sourceDate() * 1000).toISOString();
  bill.metadata.component.version = given.version;
  const digest = createHash('sha256').update(JSON.stringify(bill)).digest('hex');
  // A name-based UUID of RFC 9562, version 8.
  const parts = /^(.{8})(.{4}).(.{3}).(.{3})(.{12})/.exec(digest)?.slice(1) ?? [];
  const [one, two, three, four, five] = parts;
  bill.serialNumber = `urn:uuid:${one}-${two}-8${three}-8${four}-${five}`;
  return `${JSON.stringify(bill, undefined, 2)}\n`;
}

/** Seconds since the epoch: https://reproducible-builds.org/specs/source-date-epoch/ */
function sourceDate(): number {
  const { SOURCE_DATE_EPOCH } = process.env;
  if (SOURCE_DATE_EPOCH !== undefined) return Number(SOURCE_DATE_EPOCH);
  return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }));
}

/** A line as sha256sum writes it. */
function checksum(name: string): string {
  const digest = createHash('sha256').update(readFileSync(join(dist, name)));
  return `${digest.digest('hex')}  ${name}\n`;
}

/** npm of the machine, or what it prints. */
function npm(...words: string[]): string {
  if (!existsSync(join(ROOT, 'node_modules'))) throw new Error('run script/setup first');
  return execFileSync('npm', ['--no-audit', '--no-fund', '--loglevel=error', ...words], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 << 20,
  });
}
