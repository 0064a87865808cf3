import { execFileSync, spawnSync } from 'node:child_process';
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
  compileBundles,
  makeBundles,
  makeExecutable,
  type NativeParts,
} from './release-executable.ts';
import { EXECUTABLE } from './release-programs.ts';

/** qemu's emulators of one process, by their names in Debian. */
const EMULATORS = { x64: 'qemu-x86_64-static', arm64: 'qemu-aarch64-static' } as const;
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
    const parts = partsFor(architecture);
    const runNode = commandOf(architecture, parts.node);
    const compiled = runNode && compileBundles(join(work, architecture), bundles, runNode);
    makeExecutable(join(dist, name), bundles, parts, compiled ?? {});
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
  const modules = architecture === process.arch ? join(ROOT, 'node_modules') : join(work, 'node_modules');
  const names = [`node-linux-${architecture}`, `@koromix/koffi-linux-${architecture}`];
  const [node = '', koffi = ''] = names.map((name) => join(modules, name));
  if (architecture !== process.arch) for (const name of names) fetchPackage(name, join(modules, name));
  return { node: join(node, 'bin/node'), koffi: join(koffi, `linux_${architecture}/koffi.node`) };
}

/** The words that run Node of an architecture here; none, and a line that says why, where another's can't run. */
function commandOf(architecture: Architecture, node: string): readonly [string, ...string[]] | undefined {
  if (architecture === process.arch) return [node];
  const root = spawnSync(join(ROOT, 'script/foreign-root'), [architecture], { encoding: 'utf8' });
  if (root.status === 0) return [EMULATORS[architecture], '-L', root.stdout.trim(), node];
  const reason = root.stderr.trim();
  process.stderr.write(
    `release: ${architecture}: nothing is compiled ahead, a start takes longer: ${reason}\n`,
  );
  return undefined;
}

/** Not `npm install`: npm 11 refuses the packages of another processor, `--cpu` or not. */
function fetchPackage(name: string, folder: string): void {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string }>;
  };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  mkdirSync(folder, { recursive: true });
  const file = npm('pack', '--silent', `--pack-destination=${folder}`, `${name}@${locked.version}`).trim();
  const archive = join(folder, file);
  const digest = createHash('sha512').update(readFileSync(archive)).digest('base64');
  if (`sha512-${digest}` !== locked.integrity) {
    throw new Error(`${name}@${locked.version} is not what package-lock.json has: sha512-${digest}`);
  }
  execFileSync('tar', ['--extract', '--strip-components=1', `--file=${archive}`, `--directory=${folder}`]);
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
