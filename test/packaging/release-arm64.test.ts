import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { VERSION } from '#src/lib/version.ts';
import { RELEASE_PROGRAMS } from '../../script/release-programs.ts';
import { inRepository } from '../support/flanneld.ts';
import { assertMappable, builtRelease } from '../support/release.ts';

/*
 * The release for arm64, on a machine of another architecture:
 *
 *   qemu-aarch64-static ── linux-arm64/flanneld ── system calls of this kernel
 *                       └─ libc6, libstdc++6, … of Debian for arm64
 *
 * qemu translates the processor's instructions; the kernel, its netlink and its namespaces are this machine's.
 */
const root = spawnSync(inRepository('script/foreign-root'), ['arm64'], { encoding: 'utf8' });
const skip =
  process.arch === 'arm64'
    ? 'this machine is one of arm64: test/packaging/release.test.ts runs the same'
    : root.status !== 0 && root.stderr.trim();

test('the release for arm64', { skip }, async (t) => {
  let executable = '';
  t.before(async () => {
    ({ executable } = await builtRelease({ architecture: 'arm64' }));
  });

  const run = (
    words: readonly string[],
    { under = [], cpu = 'max' }: { under?: string[]; cpu?: string } = {},
  ) => {
    const [name = '', ...rest] = words;
    const emulator = ['qemu-aarch64-static', '-cpu', cpu, '-L', root.stdout.trim()];
    const [file = '', ...all] = [...under, ...emulator, join(dirname(executable), name), ...rest];
    const env = { ...process.env, NODE_DEBUG: 'weft' };
    const { status, stdout, stderr } = spawnSync(file, all, { encoding: 'utf8', env });
    return { status, stdout, stderr };
  };

  await t.test(
    'each program starts, and V8 takes the code that qemu compiled, on other processors too',
    () => {
      for (const [program, cpu] of [
        ['weft', 'max'],
        ['flanneld', 'cortex-a53'],
        ['mk-docker-opts', 'neoverse-n1'],
      ] as const) {
        assert.ok(program in RELEASE_PROGRAMS);
        const { stderr } = run([program, '--help'], { cpu });
        assert.match(stderr, new RegExp(`compiled code of ${program}: taken\n`));
      }
      assert.match(run(['weft', 'version']).stdout, /arm64/);
      assert.match(run(['flanneld', '--version']).stderr, new RegExp(`^v${VERSION} \\(weft\\)$`, 'm'));
    },
  );

  await t.test('the native part is loaded: netlink in an empty namespace', () => {
    const { status, stdout, stderr } = run(['weft', 'cleanup'], { under: ['unshare', '--net'] });
    assert.match(stdout + stderr, /nothing to clean up/);
    assert.equal(status, 0);
  });

  await t.test('at most 120 MB, and no obstacle for a kernel with pages of 64 KiB', () => {
    assert.ok(statSync(executable).size <= 120e6);
    assertMappable(executable, 64 << 10);
  });
});
