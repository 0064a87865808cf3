import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { VERSION } from '#src/lib/version.ts';
import { LIBRARIES, packageVersion } from '../../script/packages/facts.ts';
import { MAINTAINER_SCRIPTS, maintainerScript } from '../../script/packages/maintainer-script.ts';
import { withPayloadTable } from '../../script/packages/payload-table.ts';
import { type InstalledFile, payload } from '../../script/payload.ts';
import { inRepository } from '../support/flanneld.ts';
import { type BuiltPackages, builtPackages, noPackages } from '../support/packages.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

/*
 * What is in the deb and in the rpm, as dpkg-deb and rpm read them. test/packaging/deb.test.ts installs them.
 */
const skip = noPackages();
const run = (program: string, ...words: string[]): string =>
  execFileSync(program, words, { encoding: 'utf8', maxBuffer: 64 << 20, stdio: ['ignore', 'pipe', 'pipe'] });

let built: BuiltPackages;
before(async () => {
  if (skip === false) built = await builtPackages();
});

const wantedBy = (taker: 'deb' | 'rpm'): Promise<InstalledFile[]> =>
  payload({ taker, version: VERSION, programs: built.programs, date: 0 });

/** A file as a line: mode, path, and a link's target. */
const lineOf = ({ path, kind, mode, content }: InstalledFile): string =>
  kind === 'link' && 'target' in content ? `l ${path} -> ${content.target}` : `${mode.toString(8)} ${path}`;

const byPath = (lines: readonly string[]): string[] =>
  lines.toSorted((a, b) => ((a.split(' ')[1] ?? '') < (b.split(' ')[1] ?? '') ? -1 : 1));

/** `rwxr-xr-x` as a number. */
const modeOf = (letters: string): number =>
  [...letters].reduce((mode, letter) => mode * 2 + (letter === '-' ? 0 : 1), 0);

test('the deb has the files of the table, which are root’s', { skip }, async () => {
  const lines = run('dpkg-deb', '--contents', built.deb).trimEnd().split('\n');
  const found = lines.flatMap((line) => {
    const [letters = '', owner, , , , path = '', , target] = line.split(/\s+/);
    assert.equal(owner, 'root/root', line);
    if (letters.startsWith('d')) {
      assert.equal(letters, 'drwxr-xr-x', line);
      return [];
    }
    const place = path.slice(1);
    return target === undefined
      ? `${modeOf(letters.slice(1)).toString(8)} ${place}`
      : `l ${place} -> ${target}`;
  });
  assert.deepEqual(byPath(found), byPath((await wantedBy('deb')).map(lineOf)));
});

test('the rpm has the files of the table, which are root’s', { skip }, async () => {
  // path, size, time, digest, mode, owner, group, isconfig, isdoc, rdev, target
  const files = run('rpm', '-qp', '--dump', built.rpm)
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' '));
  const found = files.flatMap(([path = '', , , , mode = '', owner, group, isConfig, , , target]) => {
    assert.deepEqual([owner, group], ['root', 'root'], path);
    if (mode.startsWith('040')) return [];
    assert.equal(isConfig, path.startsWith('/etc/') ? '1' : '0', path);
    return target === 'X' ? `${mode.slice(-3)} ${path}` : `l ${path} -> ${target}`;
  });
  assert.deepEqual(byPath(found), byPath((await wantedBy('rpm')).map(lineOf)));
  const kept = run('rpm', '-qp', '--qf', '[%{FILEFLAGS:fflags} %{FILENAMES}\n]', built.rpm);
  for (const { path, kind } of await wantedBy('rpm')) {
    if (kind === 'conffile') assert.match(kept, new RegExp(`^cn ${RegExp.escape(path)}$`, 'm'));
  }
});

test('their programs are the release’s, byte for byte', { skip }, () => {
  const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  const wanted = sum(readFileSync(join(built.programs, 'weft')));
  const options = { maxBuffer: 512 << 20 };
  const tar = execFileSync('dpkg-deb', ['--fsys-tarfile', built.deb], options);
  assert.equal(sum(execFileSync('tar', ['-xO', './usr/bin/weft'], { input: tar, ...options })), wanted);
  assert.match(
    run('rpm', '-qp', '--dump', built.rpm),
    new RegExp(`^/usr/bin/weft \\d+ \\d+ ${wanted} `, 'm'),
  );
});

test('the deb says what it is, needs and replaces', { skip }, async () => {
  const field = (name: string): string => run('dpkg-deb', '--field', built.deb, name).trimEnd();
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'];
  assert.deepEqual(['Package', 'Version', 'Architecture', 'Conflicts', 'Replaces', 'Provides'].map(field), [
    'weft',
    packageVersion(VERSION),
    architecture,
    'flannel',
    'flannel',
    'flannel',
  ]);
  assert.match(field('Depends'), /^libc6 \(>= 2\.28\), .*libatomic1 .*iptables \| nftables$/);
  const conffiles = (await wantedBy('deb')).filter(({ kind }) => kind === 'conffile');
  assert.equal(
    run('dpkg-deb', '--info', built.deb, 'conffiles'),
    conffiles.map(({ path }) => `${path}\n`).join(''),
  );
  const sums = run('dpkg-deb', '--info', built.deb, 'md5sums').trimEnd().split('\n');
  const plain = (await wantedBy('deb')).filter(({ kind }) => kind === 'file');
  assert.deepEqual(sums.map((line) => line.slice(34)).sort(), plain.map(({ path }) => path.slice(1)).sort());
});

test('the rpm requires each library by the symbols that the executable refers to', { skip }, () => {
  const requires = run('rpm', '-qp', '--requires', built.rpm).trimEnd().split('\n');
  assert.ok(requires.includes('(iptables or nftables)'));
  // `libc.so.6 (GLIBC_2.28) => …`, of the executable itself before the libraries'.
  const [, own = ''] = run('ldd', '-v', join(built.programs, 'weft')).split(/^\t\/.*:$/m);
  const found = new Map<string, string>();
  for (const [, library = '', symbol = ''] of own.matchAll(/^\s+(\S+) \(([A-Z]+_[\d.]+)\) =>/gm)) {
    // glibc has all of its libraries in one package of one version.
    const of = /^(ld-linux|lib(dl|m|pthread)\.so)/.test(library) ? 'libc.so.6' : library;
    const family = `${of} ${symbol.split('_')[0]}`;
    if ((found.get(family) ?? '').localeCompare(symbol, 'en', { numeric: true }) < 0)
      found.set(family, symbol);
  }
  const newest = [...found].map(([family, symbol]) => `${family.split(' ')[0]}(${symbol})(64bit)`).sort();
  const known = Object.entries(LIBRARIES).flatMap(([library, symbols]) =>
    symbols.map((symbol) => `${library}(${symbol})(64bit)`),
  );
  assert.deepEqual(newest, known.sort());
  for (const symbol of known) assert.ok(requires.includes(symbol), symbol);
  const provided = run('rpm', '-qp', '--provides', '--obsoletes', built.rpm);
  assert.match(provided, /^flannel$/m);
  assert.match(provided, /^flannel < 1$/m);
});

const all = Object.entries(MAINTAINER_SCRIPTS).flatMap(([format, names]) =>
  names.map((name) => ({ format: format as keyof typeof MAINTAINER_SCRIPTS, name })),
);

test('the maintainer scripts are in the packages, and a POSIX shell reads them', { skip }, (t) => {
  const folder = scratchFolder(t);
  const tags = { post: 'POSTIN', preun: 'PREUN', postun: 'POSTUN', posttrans: 'POSTTRANS' };
  for (const { format, name } of all) {
    const text = maintainerScript(format, name);
    const file = join(folder, `${format}-${name}`);
    writeFileSync(file, text);
    run('sh', '-n', file);
    if (format === 'deb') assert.equal(run('dpkg-deb', '--info', built.deb, name), text);
    else {
      const found = run('rpm', '-qp', '--qf', `%{${tags[name as keyof typeof tags]}}`, built.rpm);
      assert.equal(found.trim(), text.replace(/^#!.*\n/, '').trim());
    }
    // An unknown case must not pass for one that was handled.
    if (format === 'deb') assert.equal(spawnSync('sh', [file, 'no-such-case']).status, 1, name);
  }
  const files = readdirSync(folder).map((name) => join(folder, name));
  const { error, stdout } = spawnSync('shellcheck', files, { encoding: 'utf8' });
  if (error !== undefined) t.diagnostic('shellcheck is not here, and was not asked');
  else assert.equal(stdout, '');
});

test('the same input makes the same bytes, of either compression', { skip }, (t) => {
  const folder = scratchFolder(t);
  const programs = join(folder, 'release', `linux-${process.arch}`);
  mkdirSync(programs, { recursive: true });
  writeFileSync(join(programs, 'weft'), 'a small program\n');
  const make = (output: string, environment: NodeJS.ProcessEnv, ...words: string[]): string => {
    const place = join(folder, output);
    const from = [process.arch, `--release=${join(folder, 'release')}`, `--output=${place}`, ...words];
    execFileSync(process.execPath, [inRepository('script/package.ts'), ...from], {
      env: { ...process.env, SOURCE_DATE_EPOCH: '1700000000', ...environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return readFileSync(join(place, 'SHA256SUMS'), 'utf8');
  };
  const elsewhere = { TZ: 'Asia/Tokyo', LANG: 'C.UTF-8', HOME: folder, USER: 'nobody' };
  for (const speed of [[], ['--fast']]) {
    const first = make(`a${speed.length}`, {}, '--version=1.2.3-rc1', ...speed);
    assert.equal(make(`another-folder${speed.length}`, elsewhere, '--version=1.2.3-rc1', ...speed), first);
    assert.match(
      first,
      /^[0-9a-f]{64} {2}weft_1\.2\.3~rc1_\w+\.deb\n[0-9a-f]{64} {2}weft-1\.2\.3~rc1-1\.\w+\.rpm\n$/,
    );
  }
  const made = readdirSync(join(folder, 'a0'));
  assert.equal(made.length, 3, 'nothing in between is left');
});

test('docs/reference/packages.md has the table that script/generate-docs writes', () => {
  const page = readFileSync(inRepository('docs/reference/packages.md'), 'utf8');
  assert.equal(page, withPayloadTable(page), 'run script/generate-docs');
});
