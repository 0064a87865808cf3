import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { VERSION } from '#src/lib/version.ts';
import { VENDOR } from '#src/ui/server/page-files.ts';
import { buildFacts } from './build-facts.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');
const WORK = join(DIST, '.work');
const PROGRAMS = ['flanneld', 'weft', 'mk-docker-opts'] as const;
const ARCHITECTURES = ['x64', 'arm64'] as const;
type Architecture = (typeof ARCHITECTURES)[number];

const given = process.argv.slice(2);
const strangers = given.filter((word) => !ARCHITECTURES.some((known) => known === word));
if (strangers.length > 0) {
  process.stderr.write(
    `release: no architecture ${strangers[0]}, there are ${ARCHITECTURES.join(' and ')}\n`,
  );
  process.exit(2);
}
const wanted = ARCHITECTURES.filter((known) => given.length === 0 || given.includes(known));

rmSync(DIST, { recursive: true, force: true });
mkdirSync(WORK, { recursive: true });
const sums: string[] = [];
writeFileSync(join(WORK, 'main.cjs'), await bundle('script/release-main.ts'));
writeFileSync(join(WORK, 'nothing'), '');
for (const program of PROGRAMS) await prepare(program);
for (const architecture of wanted) {
  const parts = partsFor(architecture);
  for (const program of PROGRAMS) sums.push(checksum(makeExecutable(program, architecture, parts)));
}
writeFileSync(
  join(DIST, 'sbom.cdx.json'),
  npm('sbom', '--package-lock-only', '--omit=dev', '--sbom-format=cyclonedx'),
);
sums.push(checksum('sbom.cdx.json'));
writeFileSync(join(DIST, 'SHA256SUMS'), sums.join(''));
rmSync(WORK, { recursive: true });

/** One file of plain JavaScript, and what of it is compiled ahead. */
async function prepare(program: string): Promise<void> {
  const text = `(function (exports, require, module, __filename, __dirname) {${await bundle(`src/cli/${program}.ts`)}\n})`;
  const file = join(WORK, `${program}.cjs`);
  writeFileSync(file, text);
  // V8 takes no cache that it made with other flags.
  const compile = [...flagsOf(program), join(ROOT, 'script/compile-ahead.ts'), file];
  execFileSync(process.execPath, [...compile, join(WORK, `${program}.cache`)], { stdio: 'inherit' });
}

/** What Node is started with: only the daemon says something, and says it in the file that starts it from the source. */
function flagsOf(program: string): string[] {
  if (program !== 'flanneld') return [];
  const flags = /^flags='(.*)'$/m.exec(readFileSync(join(ROOT, 'bin/flanneld'), 'utf8'))?.[1];
  if (flags === undefined) throw new Error('bin/flanneld does not say its flags');
  return flags.split(' ');
}

/** Names and lines stay: a stack trace in a report has to be read. */
async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, entry)],
    absWorkingDir: ROOT,
    write: false,
    bundle: true,
    platform: 'node',
    target: `node${process.versions.node}`,
    // CommonJS loads node's own modules when they are first needed; as ES modules all of them come first.
    format: 'cjs',
    minifySyntax: true,
    legalComments: 'none',
    alias: { koffi: join(ROOT, 'script/koffi-asset.ts') },
    define: {
      'import.meta.main': 'true',
      'import.meta.url': '"file:///"',
      WEFT_BUILD: JSON.stringify(buildFacts(VERSION)),
    },
  });
  return outputFiles.map(({ text }) => text).join('');
}

interface Parts {
  readonly node: string;
  readonly koffi: string;
}

/** Node and koffi's native part for an architecture: this machine's are installed, another's are fetched. */
function partsFor(architecture: Architecture): Parts {
  let folder = join(ROOT, 'node_modules');
  if (architecture !== process.arch) {
    const packages = [
      `node-linux-${architecture}@${process.versions.node}`,
      `@koromix/koffi-linux-${architecture}@${installed('koffi')}`,
    ];
    const place = join(WORK, architecture);
    mkdirSync(place);
    npm('install', `--prefix=${place}`, `--cpu=${architecture}`, '--os=linux', '--no-save', ...packages);
    folder = join(place, 'node_modules');
  }
  return {
    node: join(folder, `node-linux-${architecture}/bin/node`),
    koffi: join(folder, `@koromix/koffi-linux-${architecture}/linux_${architecture}/koffi.node`),
  };
}

function makeExecutable(program: string, architecture: Architecture, { node, koffi }: Parts): string {
  const name = `linux-${architecture}/${program}`;
  const output = join(DIST, name);
  mkdirSync(join(DIST, `linux-${architecture}`), { recursive: true });
  const config = {
    main: join(WORK, 'main.cjs'),
    output: `${output}.new`,
    executable: node,
    disableExperimentalSEAWarning: true,
    execArgv: flagsOf(program),
    execArgvExtension: 'none',
    assets: {
      'program.cjs': join(WORK, `${program}.cjs`),
      // Compiled code is of use only to the processor that it was compiled for.
      'program.cache': join(WORK, architecture === process.arch ? `${program}.cache` : 'nothing'),
      ...(program !== 'mk-docker-opts' && { 'koffi.node': koffi }),
      ...(program === 'weft' && pageFiles()),
    },
  };
  const file = join(WORK, 'sea.json');
  writeFileSync(file, JSON.stringify(config));
  execFileSync(process.execPath, ['--build-sea', file], { stdio: ['ignore', 'ignore', 'inherit'] });
  // Copied in small pieces, as an installation does it: what is written in one lies in the page cache in pages so large
  // that a start maps twice the memory.
  execFileSync('dd', [`if=${output}.new`, `of=${output}`, 'bs=64k', 'status=none']);
  execFileSync('chmod', ['755', output]);
  rmSync(`${output}.new`);
  process.stdout.write(`dist/${name}\n`);
  return name;
}

/** What the page of `weft ui` is made of, by the paths under which src/sys/program-files.ts reads it. */
function pageFiles(): Record<string, string> {
  const own = ['page', 'model'].flatMap((folder) =>
    readdirSync(join(ROOT, 'src/ui', folder))
      .filter((name) => /\.(ts|css|svg|html)$/.test(name) && !name.endsWith('.test.ts'))
      .map((name) => `src/ui/${folder}/${name}`),
  );
  const all = [...own, ...Object.values(VENDOR)];
  return Object.fromEntries(all.map((path) => [path, join(ROOT, path)]));
}

function installed(name: string): string {
  const file = join(ROOT, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** A line as sha256sum writes it. */
function checksum(name: string): string {
  const digest = createHash('sha256').update(readFileSync(join(DIST, name)));
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
