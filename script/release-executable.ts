import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { BuildOptions } from 'esbuild';
import { VENDOR } from '#src/ui/server/page-files.ts';
import { buildFacts } from './build-facts.ts';
import { alignCompiled, compiledAsset } from './compiled-asset.ts';
import { addressOf, cutOut, dynamicSymbol, withoutSections } from './elf-file.ts';
import { icuSymbol, trimIcuData } from './icu-data.ts';
import { EXECUTABLE, LINKS, RELEASE_PROGRAMS, type ReleaseProgram } from './release-programs.ts';
import { ROOT } from './source-tree.ts';
import { type SplitBundle, splitBundle } from './split-bundle.ts';
import { START_PARTS } from './start-parts.ts';

/** Files of npm's packages for an architecture. */
export interface NativeParts {
  readonly node: string;
  readonly koffi: string;
}

/** What all architectures have in common, as files in a folder. */
export interface Bundles {
  /** What chooses the program. */
  readonly main: string;
  readonly programs: readonly ProgramFiles[];
}

/** The JavaScript of a program. */
interface ProgramFiles {
  readonly program: ReleaseProgram;
  readonly text: string;
  /** What it loads later, if anything. */
  readonly later?: string;
}

/** Bundles each program: the daemon, which stays in memory, into what a start needs and what may be loaded later. */
export async function makeBundles(folder: string, version: string): Promise<Bundles> {
  const main = join(folder, 'main.cjs');
  writeFileSync(main, (await bundle('script/release-main.ts', version, () => true)).start);
  const programs = [];
  for (const [program, { entry }] of Object.entries(RELEASE_PROGRAMS)) {
    const isOfStart = (path: string) => program !== 'flanneld' || START_PARTS.has(path) || path === KOFFI;
    const { start, later } = await bundle(`src/cli/${entry}`, version, isOfStart);
    const write = (name: string, code: string) => {
      const file = join(folder, name);
      writeFileSync(file, `(function (exports, require) {${code}\n})`);
      return file;
    };
    programs.push({
      program: program as ReleaseProgram,
      text: write(`${program}.cjs`, start),
      ...(later !== undefined && { later: write(`${program}.later.cjs`, later) }),
    });
  }
  return { main, programs };
}

/**
 * Compiles each program ahead, with Node of the architecture that it is for: V8 takes no cache of another. It is byte
 * code, in which the processor's own features have no part. Two calls give the same bytes.
 */
export function compileBundles(
  folder: string,
  { programs }: Bundles,
  [node, ...words]: readonly [string, ...string[]],
): CompiledPrograms {
  const compiled: CompiledPrograms = {};
  mkdirSync(folder, { recursive: true });
  for (const { program, text } of programs) {
    const cache = join(folder, `${program}.cache`);
    const flags = [...nodeFlags(), ...NO_CHANCE];
    const all = [...words, ...flags, join(ROOT, 'script/compile-ahead.ts'), text, cache];
    // Code that comes out of Node's own cache leaves another memory than code that is compiled: other bytes.
    const { NODE_COMPILE_CACHE: _, ...env } = process.env;
    execFileSync(node, all, { stdio: 'inherit', env });
    writeFileSync(cache, compiledAsset(readFileSync(cache)));
    compiled[program] = cache;
  }
  return compiled;
}

/**
 * V8 takes no cache that it made with other flags, but it does not count these. The seed gives the hash tables in the
 * cache the same order each time. The young generation is so large that garbage is never collected: V8 writes gaps
 * between fields into the cache with what is in memory there, which is nothing as long as no memory is used again.
 */
const NO_CHANCE = ['--random-seed=1', '--max-semi-space-size=256', '--min-semi-space-size=256'];

/** Files of V8's caches; none where a start compiles. */
export type CompiledPrograms = { [program in ReleaseProgram]?: string };

/** The executable and its links, in `folder`. */
export function makeExecutable(
  folder: string,
  { main, programs }: Bundles,
  { node, koffi }: NativeParts,
  compiled: CompiledPrograms,
): void {
  const work = join(folder, '.work');
  mkdirSync(work, { recursive: true });
  const [config, nothing, stripped, joined] = ['sea.json', 'nothing', 'node', 'joined'].map((name) =>
    join(work, name),
  ) as [string, string, string, string];
  writeFileSync(nothing, '');
  const whole = readFileSync(node);
  writeFileSync(stripped, withoutSections(whole), { mode: 0o755 });
  writeFileSync(
    config,
    JSON.stringify({
      // The executable keeps this word: it may not depend on where it is made.
      main: basename(main),
      output: joined,
      executable: stripped,
      disableExperimentalSEAWarning: true,
      execArgv: nodeFlags(),
      execArgvExtension: 'none',
      assets: {
        ...Object.fromEntries(
          programs.flatMap(({ program, text, later }) => [
            [`${program}.cjs`, text],
            [`${program}.cache`, compiled[program] ?? nothing],
            ...(later === undefined ? [] : [[`${program}.later.cjs`, later]]),
          ]),
        ),
        'koffi.node': koffi,
        ...pageFiles(),
      },
    }),
  );
  execFileSync(process.execPath, ['--build-sea', config], {
    cwd: dirname(main),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const smaller = withLittleIcu(withoutSections(readFileSync(joined)), whole);
  for (const cache of Object.values(compiled)) alignInFile(smaller, readFileSync(cache));
  writeFileSync(joined, smaller);
  // Copied in small pieces, as an installation does it: what is written in one lies in the page cache in pages so large
  // that a start maps twice the memory.
  const output = join(folder, EXECUTABLE);
  execFileSync('dd', [`if=${joined}`, `of=${output}`, 'bs=64k', 'status=none']);
  execFileSync('chmod', ['755', output]);
  for (const link of LINKS) symlinkSync(EXECUTABLE, join(folder, link));
  rmSync(work, { recursive: true });
}

/** Most of ICU's data goes, and with it its place in the file. `node` is the executable that still has its sections. */
function withLittleIcu(file: Buffer, node: Buffer): Buffer {
  const { offset, bytes } = dynamicSymbol(node, icuSymbol());
  const little = trimIcuData(file.subarray(offset, offset + bytes));
  little.copy(file, offset);
  return cutOut(file, { offset: offset + little.length, bytes: bytes - little.length });
}

/** Compiled code of two programs differs in its first bytes, which have the length of the program. */
function alignInFile(file: Buffer, asset: Buffer): void {
  const offset = file.indexOf(asset.subarray(0, 4096));
  if (offset < 0) throw new Error('--build-sea has changed an asset');
  alignCompiled(file, { offset, address: addressOf(file, offset), bytes: asset.length });
}

/** What Node is started with: the file that starts the daemon from the source says it. It is one line for all programs. */
export function nodeFlags(): string[] {
  const flags = /^flags='(.*)'$/m.exec(readFileSync(join(ROOT, 'bin/flanneld'), 'utf8'))?.[1];
  if (flags === undefined) throw new Error('bin/flanneld does not say its flags');
  return flags.split(' ');
}

/** Names and lines stay: a stack trace in a report has to be read. */
function bundle(entry: string, version: string, isOfStart: (path: string) => boolean): Promise<SplitBundle> {
  const options: BuildOptions = {
    platform: 'node',
    target: `node${process.versions.node}`,
    // A script that vm compiles has no import() of its own: it becomes require().
    supported: { 'dynamic-import': false },
    minifySyntax: true,
    legalComments: 'none',
    // A checkout whose node_modules is a link gives the same bytes.
    preserveSymlinks: true,
    alias: { koffi: join(ROOT, KOFFI) },
    define: {
      'import.meta.main': 'true',
      'import.meta.url': '"file:///"',
      WEFT_BUILD: JSON.stringify(buildFacts(version)),
    },
  };
  return splitBundle(entry, ROOT, options, isOfStart);
}

/** Stands for koffi. */
const KOFFI = 'script/koffi-asset.ts';

/** What the page of `weft ui` is made of, by the paths under which src/sys/program-files.ts reads it. */
function pageFiles(): Record<string, string> {
  const own = ['page', 'model'].flatMap((folder) =>
    readdirSync(join(ROOT, 'src/ui', folder))
      .filter((name) => /\.(ts|css|svg|html)$/.test(name) && !name.endsWith('.test.ts'))
      .sort()
      .map((name) => `src/ui/${folder}/${name}`),
  );
  const all = [...own, ...Object.values(VENDOR)];
  return Object.fromEntries(all.map((path) => [path, join(ROOT, path)]));
}
