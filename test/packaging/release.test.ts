import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, lstatSync, readFileSync, readlinkSync, statSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { Script } from 'node:vm';
import { VERSION } from '#src/lib/version.ts';
import { addressOf, PT_NOTE, readSegments } from '../../script/elf-file.ts';
import { LINKS, RELEASE_PROGRAMS } from '../../script/release-programs.ts';
import { inRepository } from '../support/flanneld.ts';
import { assertMappable, builtRelease } from '../support/release.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

/*
 * The release's one executable, run as an installation runs it. One file, and links to it:
 *
 *   weft    flanneld → weft    mk-docker-opts → weft    mk-docker-opts.sh → weft    weft-generator → weft
 */
const MEGABYTE = 1_000_000;

const runFile = promisify(execFile);
let executable = '';

before(async () => {
  ({ executable } = await builtRelease());
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(file: string, words: readonly string[] = [], options = {}): Promise<Outcome> {
  try {
    return { code: 0, ...(await runFile(file, words, { encoding: 'utf8', ...options })) };
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome;
    return { code, stdout, stderr };
  }
}

/** The first words of each program's own help. */
const HELP: Record<string, RegExp> = {
  weft: /^Usage: weft COMMAND/,
  flanneld: /^Usage: .*flanneld \[OPTION\]/,
  'mk-docker-opts': /^mk-docker-opts \[-f FLANNEL-ENV-FILE\]/m,
  'weft-generator': /^Usage: weft-generator NORMAL EARLY LATE/,
};

test('one file, with relative links beside it, of at most 120 MB', () => {
  assert.ok(statSync(executable).size <= 120 * MEGABYTE, `${statSync(executable).size} bytes`);
  assert.equal(statSync(executable).mode & 0o777, 0o755);
  assertMappable(executable, 4 << 10);
  for (const link of LINKS) assert.equal(readlinkSync(join(dirname(executable), link)), 'weft');
  assert.ok(lstatSync(executable).isFile());
});

test('each name is its program: by a path, through PATH, and through a link elsewhere', async (t) => {
  const elsewhere = scratchFolder(t);
  const env = { ...process.env, PATH: `${dirname(executable)}:${process.env.PATH}` };
  for (const [program, { names }] of Object.entries(RELEASE_PROGRAMS)) {
    for (const name of names) {
      symlinkSync(join(dirname(executable), name), join(elsewhere, name));
      for (const path of [join(dirname(executable), name), name, join(elsewhere, name), `./${name}`]) {
        const { stderr } = await run(path, ['--help'], { env, cwd: elsewhere });
        assert.match(stderr, HELP[program] ?? /^$/, path);
      }
    }
  }
});

test('a copy under a name of its own is weft, and what it is called by goes before what the file is named', async (t) => {
  const copy = join(scratchFolder(t), 'weft-of-today');
  copyFileSync(executable, copy);
  const { code, stderr } = await run(copy, ['--help']);
  assert.deepEqual([code, stderr.slice(0, 11)], [0, 'Usage: weft']);
  const asFlanneld = spawnSync(copy, ['--version'], { argv0: 'flanneld', encoding: 'utf8' });
  assert.equal(asFlanneld.stderr, `v${VERSION} (weft)\n`);
});

test('V8 takes the code that was compiled ahead, for each program', async () => {
  const env = { ...process.env, NODE_DEBUG: 'weft' };
  // Without a copy of it, which V8 makes where its address is no multiple of 8.
  const file = readFileSync(executable);
  const begin = new Script('').createCachedData().subarray(0, 8);
  // Elsewhere is what Node has of its own modules.
  const { offset = 0, fileBytes = 0 } = readSegments(file).find(({ type }) => type === PT_NOTE) ?? {};
  const assets = file.subarray(0, offset + fileBytes);
  let found = 0;
  for (let at = assets.indexOf(begin, offset); at >= 0; at = assets.indexOf(begin, at + 1)) {
    assert.equal(addressOf(file, at) % 8, 0);
    found += 1;
  }
  assert.equal(found, Object.keys(RELEASE_PROGRAMS).length);
  for (const name of Object.keys(RELEASE_PROGRAMS)) {
    const { stderr } = await run(join(dirname(executable), name), ['--help'], { env });
    assert.match(stderr, new RegExp(`compiled code of ${name}: taken\n`));
  }
});

test('the native part is loaded: netlink in an empty namespace', async () => {
  const { code, stdout, stderr } = await run('unshare', ['--net', executable, 'cleanup']);
  assert.match(stdout + stderr, /nothing to clean up/);
  assert.equal(code, 0);
});

test('what a plain start does without is loaded when it is needed: TLS', async (t) => {
  const folder = scratchFolder(t);
  const words = [
    '--etcd-endpoints=https://127.0.0.1:1',
    `--state-dir=${folder}`,
    `--subnet-file=${join(folder, 'env')}`,
  ];
  const argv = ['--net', join(dirname(executable), 'flanneld'), ...words];
  const flanneld = spawn('unshare', argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    let log = '';
    for await (const chunk of flanneld.stderr) {
      log += chunk;
      if (/cannot read the network config.*\n/.test(log)) break;
    }
    assert.match(log, /https:\/\/127\.0\.0\.1:1: network unreachable/);
  } finally {
    flanneld.kill();
    if (flanneld.exitCode === null) await once(flanneld, 'exit');
  }
});

test("the time zone is the host's: its rules are part of the data of ICU that is left", async () => {
  const flanneld = join(dirname(executable), 'flanneld');
  const began = Date.now();
  const { stderr } = await run(flanneld, ['--kube-subnet-mgr'], { env: { TZ: 'Asia/Kathmandu' } });
  const read = /^I(\d\d)(\d\d) (\d\d:\d\d:\d\d\.\d{3})/.exec(stderr)?.slice(1) ?? [];
  const [month, day, clock] = read;
  const said = Date.parse(`${new Date().getUTCFullYear()}-${month}-${day}T${clock}+05:45`);
  assert.ok(began <= said && said <= Date.now(), stderr);
});

test('the page of weft ui is in it', async () => {
  const server = spawn(executable, ['ui', '--listen=127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(server.stdout, 'data')) as [Buffer];
    const url = /http:\S+/.exec(line.toString())?.[0] ?? '';
    const page = await fetch(url);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /<title>/);
  } finally {
    server.kill();
    await once(server, 'exit');
  }
});

test('the checksum is that of the file, and the bill of materials has the version', () => {
  const folder = dirname(dirname(executable));
  execFileSync('sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: folder });
  const bill = JSON.parse(readFileSync(join(folder, 'sbom.cdx.json'), 'utf8'));
  assert.equal(bill.metadata.component.version, VERSION);
  assert.equal(bill.metadata.timestamp, '1970-01-01T00:00:00.000Z');
});

test('the same source in another folder makes the same bytes', async (t) => {
  const folder = scratchFolder(t);
  const copy = join(folder, 'checkout');
  const parts = ['src', 'script', 'bin', 'package.json', 'package-lock.json', 'tsconfig.json'];
  execFileSync('mkdir', [copy]);
  execFileSync('cp', ['-r', ...parts.map(inRepository), copy]);
  symlinkSync(inRepository('node_modules'), join(copy, 'node_modules'));
  const to = join(folder, 'dist');
  // The copy is of the same commit, with the same changes.
  const gitDirectory = ['-C', inRepository(''), 'rev-parse', '--absolute-git-dir'];
  const ofTheCommit = {
    GIT_DIR: execFileSync('git', gitDirectory, { encoding: 'utf8' }).trim(),
    GIT_WORK_TREE: inRepository(''),
  };
  const words = [join(copy, 'script/release.ts'), process.arch, `--to=${to}`];
  const { code, stderr } = await run(process.execPath, words, {
    env: { ...process.env, SOURCE_DATE_EPOCH: '0', ...ofTheCommit },
  });
  assert.equal(code, 0, stderr);
  const made = readFileSync(join(to, basename(dirname(executable)), 'weft'));
  assert.ok(made.equals(readFileSync(executable)));
});

test('a version that is none, or an architecture that is not there, makes nothing', async () => {
  for (const word of ['--version=v1', '--version=', 'riscv64', '--form=small']) {
    const { code, stderr } = await run(process.execPath, [inRepository('script/release.ts'), word]);
    assert.equal(code, 2, word);
    assert.match(stderr, /^release: .*\n$/, word);
  }
});
