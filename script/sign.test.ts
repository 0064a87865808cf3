import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../test/support/scratch-folder.ts';

/*
 * A small release, keys of its own, and the real ssh-keygen: what is signed is accepted, and every change is refused.
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const skip =
  spawnSync('ssh-keygen', ['-?']).error !== undefined && 'needs ssh-keygen (Debian package openssh-client)';

interface Release {
  readonly dist: string;
  readonly key: string;
  readonly signers: string;
}

const FILES = { 'linux-x64/weft': 'an executable', 'sbom.cdx.json': '{}' };

const sumOf = (text: string): string => createHash('sha256').update(text).digest('hex');

function madeRelease(t: TestContext): Release {
  const folder = scratchFolder(t);
  const dist = join(folder, 'dist');
  mkdirSync(join(dist, 'linux-x64'), { recursive: true });
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(dist, name), text);
  const sums = Object.entries(FILES).map(([name, text]) => `${sumOf(text)}  ${name}\n`);
  writeFileSync(join(dist, 'SHA256SUMS'), sums.join(''));
  const key = madeKey(folder, 'release');
  const signers = join(folder, 'signers');
  writeFileSync(signers, `release@weft namespaces="weft-release" ${readFileSync(`${key}.pub`, 'utf8')}`);
  return { dist, key, signers };
}

function madeKey(folder: string, name: string): string {
  const key = join(folder, name);
  const words = ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', key];
  assert.equal(spawnSync('ssh-keygen', words).status, 0);
  return key;
}

const sign = ({ dist, key }: Release) =>
  spawnSync(join(ROOT, 'script/sign'), [key], {
    encoding: 'utf8',
    env: { ...process.env, WEFT_DIST: relative(ROOT, dist) },
  });

/** The reason of a refusal, or `undefined` where all is good. */
function refusal({ dist, signers }: Release): string | undefined {
  const words = [dist, signers];
  const { status, stderr } = spawnSync(join(ROOT, 'script/verify-release'), words, { encoding: 'utf8' });
  return status === 0 ? undefined : stderr;
}

function signedRelease(t: TestContext): Release {
  const release = madeRelease(t);
  assert.deepEqual([sign(release).status, refusal(release)], [0, undefined]);
  return release;
}

test('what is signed is accepted, also by the command that the documentation has', { skip }, (t) => {
  const { dist, signers } = signedRelease(t);
  const words = ['-Y', 'verify', '-n', 'weft-release', '-I', 'release@weft'];
  const { status, stdout } = spawnSync(
    'ssh-keygen',
    [...words, '-f', signers, '-s', join(dist, 'SHA256SUMS.sig')],
    { input: readFileSync(join(dist, 'SHA256SUMS')), encoding: 'utf8' },
  );
  assert.equal(status, 0);
  assert.match(stdout, /^Good "weft-release" signature for release@weft/);
});

test('a download of one file is enough, and none is not', { skip }, (t) => {
  const release = signedRelease(t);
  rmSync(join(release.dist, 'linux-x64/weft'));
  assert.equal(refusal(release), undefined);
  rmSync(join(release.dist, 'sbom.cdx.json'));
  assert.match(refusal(release) ?? '', /not those that were signed/);
});

test('a changed file is refused', { skip }, (t) => {
  const release = signedRelease(t);
  appendFileSync(join(release.dist, 'linux-x64/weft'), '!');
  assert.match(refusal(release) ?? '', /not those that were signed/);
});

test('a changed sum is refused, also where the file fits it', { skip }, (t) => {
  const release = signedRelease(t);
  writeFileSync(join(release.dist, 'linux-x64/weft'), 'another executable');
  const sums = join(release.dist, 'SHA256SUMS');
  const text = readFileSync(sums, 'utf8').replace(sumOf('an executable'), sumOf('another executable'));
  writeFileSync(sums, text);
  assert.match(refusal(release) ?? '', /not one of this SHA256SUMS/);
});

test('another key is refused', { skip }, (t) => {
  const release = signedRelease(t);
  const key = madeKey(join(release.dist, '..'), 'stranger');
  assert.equal(sign({ ...release, key }).status, 0);
  assert.match(refusal(release) ?? '', /the key that signed is not in/);
});

test('a signature for another purpose is refused', { skip }, (t) => {
  const release = signedRelease(t);
  const { dist, key, signers } = release;
  // A key that may sign everything: only the purpose is wrong.
  writeFileSync(signers, `release@weft ${readFileSync(`${key}.pub`, 'utf8')}`);
  assert.equal(refusal(release), undefined);
  rmSync(join(dist, 'SHA256SUMS.sig'));
  spawnSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', 'git', '-f', key, join(dist, 'SHA256SUMS')]);
  assert.match(refusal(release) ?? '', /not one of this SHA256SUMS/);
});

test('no signature is refused', { skip }, (t) => {
  const release = signedRelease(t);
  rmSync(join(release.dist, 'SHA256SUMS.sig'));
  assert.match(refusal(release) ?? '', /this release is not signed/);
});

test('a release that is not what its sums say is not signed', { skip }, (t) => {
  const release = madeRelease(t);
  appendFileSync(join(release.dist, 'sbom.cdx.json'), ' ');
  const { status, stderr } = sign(release);
  assert.equal(status, 1);
  assert.match(stderr, /run script\/release again/);
  renameSync(join(release.dist, 'SHA256SUMS'), join(release.dist, 'gone'));
  assert.match(sign(release).stderr, /run script\/release first/);
});
