import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '#src/lib/errors.ts';
import { VERSION } from '#src/lib/version.ts';
import { ARCHITECTURES, type Architecture, architecturesOf } from './architectures.ts';
import { addChecksums, serialNumberOf } from './checksums.ts';
import { fetchNpmPackage } from './npm-package.ts';
import { compileBundles, makeBundles, makeExecutable, type NativeParts } from './release-executable.ts';
import { EXECUTABLE } from './release-programs.ts';
import { ROOT, sourceDate } from './source-tree.ts';

const { given, wanted } = readArguments();
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
addChecksums(dist, files);

function readArguments() {
  try {
    const read = parseArgs({
      allowPositionals: true,
      options: {
        version: { type: 'string', default: VERSION },
        to: { type: 'string', default: 'dist' },
      },
    });
    if (!/^\d[\w.+~-]*$/.test(read.values.version)) {
      throw new Error(`--version=${read.values.version} is no version, such as 1.2.3`);
    }
    const { to } = read.values;
    if (existsSync(to) && !isRelease(to))
      throw new Error(`--to=${to} has files that are none of a release; name an empty folder, or a new one`);
    return { given: read.values, wanted: architecturesOf(read.positionals) };
  } catch (error) {
    process.stderr.write(`release: ${messageOf(error)}\n`);
    process.exit(2);
  }
}

/** What is in the folder is removed. */
function isRelease(folder: string): boolean {
  const names = readdirSync(folder);
  return names.every((name) => /^(SHA256SUMS|sbom|linux-|weft[-_]|\.package-)/.test(name));
}

/** Node and koffi's native part for an architecture: this machine's are installed, another's are fetched. */
function partsFor(architecture: Architecture): NativeParts {
  const modules = architecture === process.arch ? join(ROOT, 'node_modules') : join(work, 'node_modules');
  const names = [`node-linux-${architecture}`, `@koromix/koffi-linux-${architecture}`];
  const [node = '', koffi = ''] = names.map((name) => join(modules, name));
  if (architecture !== process.arch) for (const name of names) unpack(name, join(modules, name));
  return { node: join(node, 'bin/node'), koffi: join(koffi, `linux_${architecture}/koffi.node`) };
}

/** The words that run Node of an architecture here; none, and a line that says why, where another's can't run. */
function commandOf(architecture: Architecture, node: string): readonly [string, ...string[]] | undefined {
  if (architecture === process.arch) return [node];
  const root = spawnSync(join(ROOT, 'script/foreign-root'), [architecture], { encoding: 'utf8' });
  if (root.status === 0) return [ARCHITECTURES[architecture].emulator, '-L', root.stdout.trim(), node];
  const reason = root.stderr.trim();
  process.stderr.write(
    `release: ${architecture}: nothing is compiled ahead, a start takes longer: ${reason}\n`,
  );
  return undefined;
}

function unpack(name: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  execFileSync('tar', ['--extract', '--gzip', '--strip-components=1', `--directory=${folder}`], {
    input: fetchNpmPackage(name),
  });
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
  bill.serialNumber = serialNumberOf(JSON.stringify(bill));
  return `${JSON.stringify(bill, undefined, 2)}\n`;
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
