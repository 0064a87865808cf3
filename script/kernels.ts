/**
 * Runs tests under Debian's kernels, each list of them in an emulated machine of its own, and prints what the tests print there.
 * Its root is this machine's own, read only, so the checkout and all programs are at their places; what it writes is in its memory.
 *
 *   script/kernels [--short] [--kernel=PACKAGE]… [FILES]
 *
 * The variables WEFT_PEER_… (another flanneld) hold in the machines, too.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cannotRun } from '../test/support/test-lab.ts';
import { compileImports } from './compile-imports.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Debian 12's kernel, 6.1, and that of Debian 13, 6.12, built for it. */
const KERNELS = ['linux-image-amd64', 'linux-image-6.12-amd64'];

interface List {
  readonly files: readonly string[];
  /** Of these, those that another list has. */
  readonly except?: string;
  /** Files at once. Tests that count lost packets have no processor to share. */
  readonly atOnce: number;
}

const FAST_PATH = 'test/kernel/fast-path*.test.ts';
/** Each within the limit of a machine. */
const LISTS: readonly List[] = [
  // All that is asked of the kernel itself, a network of three hosts, and rules by nftables and by iptables.
  {
    files: [
      'test/kernel/*.test.ts',
      'test/e2e/lab.test.ts',
      'test/firewall/quiet.test.ts',
      'test/firewall/sealed-port.test.ts',
    ],
    except: FAST_PATH,
    atOnce: 3,
  },
  // With tcx and without it, where the kernel has it.
  { files: [FAST_PATH], atOnce: 3 },
  // Whole networks of the backends that this machine's kernel may lack.
  { files: ['test/e2e/ipip.test.ts', 'test/e2e/ipsec*.test.ts'], atOnce: 1 },
  { files: ['test/e2e/wireguard.test.ts', 'test/e2e/wireguard-flannel.test.ts'], atOnce: 1 },
  { files: ['test/e2e/wireguard-modes.test.ts', 'test/e2e/vxlan-encrypt.test.ts'], atOnce: 1 },
  { files: ['test/e2e/wireguard-rotation.test.ts'], atOnce: 1 },
  { files: ['test/e2e/change-to-tunnels.test.ts'], atOnce: 1 },
];
/**
 * What this machine's kernel may lack, with few processes: to start one of Node's takes an emulated machine some seconds. The tests
 * have the backends, the reconciler and the rotation of flanneld over a kernel of their own.
 */
const SHORT: { readonly kernels: readonly string[]; readonly lists: readonly List[] } = {
  kernels: ['linux-image-amd64'],
  lists: [
    {
      files: [
        'test/kernel/wireguard.test.ts',
        'test/kernel/wireguard-rotation.test.ts',
        'test/kernel/ipip.test.ts',
      ],
      atOnce: 1,
    },
  ],
};
/** Of a machine that ended before its tests did. */
const LAST_LINES = 20;
/** What a machine takes beyond this is a machine that hangs. */
const LIMIT_MS = 20 * 60_000;
/** An emulated processor takes ten to twenty times as long. */
const PATIENCE = 15;
/**
 * What Node compiled, in the checkout, which the machine can read. Under the emulator one start of Node in sixteen ends by itself
 * (SIGSEGV, or V8's "Check failed: it->second.Size() > offset") while it compiles, and none in sixty that reads what was compiled
 * outside.
 */
const COMPILED = join(ROOT, 'node_modules/.cache/weft');
/** Beside what the tests import: what runs them, and the programs that they start. */
const PROGRAMS = ['script/run-tests.ts', 'src/cli/*.ts', 'test/support/echo-sender-process.ts'];

/** An exit code of script/kernel. */
const CANNOT_BE_HAD = 3;

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: 'string', multiple: true },
    short: { type: 'boolean', default: false },
  },
});
const chosen = values.short ? SHORT : { kernels: KERNELS, lists: LISTS };
const lists = positionals.length > 0 ? [{ files: positionals, atOnce: values.short ? 1 : 3 }] : chosen.lists;
const sum = { passed: 0, failed: 0, skipped: 0 };
for (const kernel of values.kernel ?? chosen.kernels)
  for await (const { passed, failed, skipped } of runUnder(kernel)) {
    sum.passed += passed;
    sum.failed += failed;
    sum.skipped += skipped;
  }
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exitCode = sum.failed > 0 || sum.passed + sum.skipped === 0 ? 1 : 0;

/** One outcome for each list, or one where the kernel can't be had. */
async function* runUnder(kernel: string): AsyncGenerator<Outcome> {
  const fetch = join(ROOT, 'script/kernel');
  const lacking = lackingForMachines();
  if (lacking !== undefined) return yield skipped(kernel, lacking);
  const { status, stderr } = spawnSync(fetch, [kernel], {
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  process.stderr.write(stderr);
  if (status === CANNOT_BE_HAD) return yield skipped(kernel, stderr.trimEnd().split('\n').at(-1) ?? '');
  if (status !== 0) return yield { passed: 0, failed: 1, skipped: 0 };
  const place = execFileSync(fetch, ['--folder', kernel], { encoding: 'utf8' }).trim();
  for (const { files, except, atOnce } of lists) {
    const found = globSync(files, { cwd: ROOT, exclude: except === undefined ? [] : [except] });
    yield await runList({ kernel, place }, { files: found, atOnce });
  }
}

/** A machine that ends before its tests do is one failure. */
async function runList({ kernel, place }: { kernel: string; place: string }, list: List): Promise<Outcome> {
  const { files } = list;
  const share = mkdtempSync(join(tmpdir(), 'weft-kernel-'));
  const programs = globSync(PROGRAMS, { cwd: ROOT, exclude: ['**/*.test.ts'] });
  try {
    compileImports(
      [...programs, ...files].map((file) => join(ROOT, file)),
      COMPILED,
    );
    writeFileSync(join(share, 'script'), guestScript(list));
    // The machine has folders of its own in these places.
    if (/^\/(tmp|run)\//.test(ROOT)) writeFileSync(join(share, 'checkout'), ROOT);
    const started = performance.now();
    await runMachine(place, share);
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const read = (name: string): string =>
      existsSync(join(share, name)) ? readFileSync(join(share, name), 'utf8').trim() : '';
    const release = read('release') || kernel;
    const [, passed, failed, skipped] =
      /(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(read('output')) ?? [];
    if (passed === undefined) {
      const done = read('output').split('\n').slice(-LAST_LINES).join('\n');
      process.stdout.write(
        `FAILED  Linux ${release} ended after ${seconds} s:\n${read('console')}\n${done}\n`,
      );
      return { passed: 0, failed: 1, skipped: 0 };
    }
    process.stdout.write(`Linux ${release}: ${seconds} s, ${files.length} files\n`);
    return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
  } finally {
    rmSync(share, { recursive: true });
  }
}

function skipped(kernel: string, reason: string): Outcome {
  process.stdout.write(`skipped  ${kernel}: ${reason}\n`);
  return { passed: 0, failed: 0, skipped: 1 };
}

/** Why there can be no machines here; `undefined` when there can. */
function lackingForMachines(): string | undefined {
  if (process.arch !== 'x64') return 'the machines are x86-64, and run the programs of this one';
  return cannotRun('qemu-system-x86_64', 'busybox', 'xz', 'dpkg-deb') || undefined;
}

function guestScript({ files, atOnce }: List): string {
  const peers = Object.entries(process.env).filter(([name]) => name.startsWith('WEFT_PEER_'));
  const lines = [
    'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root',
    `export WEFT_PATIENCE=${PATIENCE} NODE_COMPILE_CACHE='${COMPILED}'`,
    `export WEFT_TESTS_AT_ONCE=${atOnce}`,
    ...peers.map(([name, value]) => `export ${name}='${value}'`),
    // flannel ends where it is not loaded.
    ...(peers.length > 0 ? ['/run/modprobe br_netfilter'] : []),
    // Two that ask for their first bridge at once may both miss it.
    '/run/modprobe bridge',
    'uname -r >/run/share/release',
    `cd '${ROOT}'`,
    `node_modules/.bin/node script/run-tests.ts ${files.join(' ')} 2>&1 | tee /run/share/output >/dev/ttyS1`,
    'echo o >/proc/sysrq-trigger',
    // Until that has its effect.
    'sleep 60',
    '',
  ];
  return lines.join('\n');
}

/** Resolves when the machine is off. Always TCG: where KVM opens, it may still hang another kernel. */
async function runMachine(place: string, share: string): Promise<void> {
  const folder = (tag: string, path: string, more = ''): string[] => [
    '-fsdev',
    `local,id=${tag},path=${path},security_model=none${more}`,
    '-device',
    `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
  ];
  const machine = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'pc', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048'],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-device', 'virtio-rng-pci'],
      ...['-serial', `file:${join(share, 'console')}`, '-serial', 'stdio'],
      ...['-kernel', join(place, 'vmlinuz'), '-initrd', join(place, 'initrd.cpio')],
      // The check of the timer fails where the emulator gets no processor for a while.
      ...['-append', `console=ttyS0 quiet panic=-1 mitigations=off no_timer_check KERNEL=${place}`],
      ...folder('root', '/', ',readonly=on,multidevs=remap'),
      ...folder('share', share),
    ],
    { stdio: ['ignore', 'inherit', 'inherit'], signal: AbortSignal.timeout(LIMIT_MS), killSignal: 'SIGKILL' },
  );
  await once(machine, 'exit').catch((error: unknown) => {
    if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
  });
}
