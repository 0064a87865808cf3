import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { cannotRun } from '../test/support/test-lab.ts';

const PROGRAM = fileURLToPath(new URL('kernels.ts', import.meta.url));
const skip = cannotRun('qemu-system-x86_64', 'busybox', 'xz', 'dpkg-deb');

function writeProgram(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
  chmodSync(join(folder, name), 0o755);
}

/** With the programs of a folder before others, and the cache there. */
function kernels(folder: string): { lines: string[]; status: number | null } {
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}`, XDG_CACHE_HOME: folder };
  const argv = [PROGRAM, '--kernel=linux-image-x'];
  const { stdout, status } = spawnSync(process.execPath, argv, { encoding: 'utf8', env });
  return { lines: stdout.trimEnd().split('\n'), status };
}

for (const [what, aptCache, reason] of [
  ['Debian does not have', '', 'kernel: Debian has no package linux-image-x for this release'],
  [
    'can’t be fetched',
    'echo "  Depends: linux-image-6.1"',
    'kernel: "apt-get download linux-image-6.1" failed: E: no network',
  ],
] as const) {
  test(`a kernel that ${what} is one skip, with the reason`, { skip }, (t) => {
    const folder = scratchFolder(t);
    const programs = { 'apt-cache': aptCache, 'apt-get': 'echo E: no network; exit 100' };
    for (const [name, text] of Object.entries(programs)) writeProgram(folder, name, text);
    const { lines, status } = kernels(folder);
    assert.deepEqual(lines, [`skipped  linux-image-x: ${reason}`, '0 passed, 0 failed, 1 skipped']);
    assert.equal(status, 0);
  });
}

test('a kernel whose package has none is a failure', { skip }, (t) => {
  const folder = scratchFolder(t);
  writeProgram(folder, 'apt-cache', 'echo "  Depends: linux-image-6.1"');
  writeProgram(folder, 'apt-get', ': >linux-image.deb');
  writeProgram(folder, 'dpkg-deb', 'exit 2');
  const { lines, status } = kernels(folder);
  assert.deepEqual(lines, ['0 passed, 1 failed, 0 skipped']);
  assert.equal(status, 1);
});
