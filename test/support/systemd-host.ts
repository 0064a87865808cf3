import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '#src/sys/until.ts';
import { makeControlGroups } from './machine/control-groups.ts';
import type { BuiltRelease } from './release.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SYSTEMD = '/lib/systemd/systemd';
const CGROUPS = '/sys/fs/cgroup';
/** As systemd has it, and where programs of this checkout are: in the first. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin';
/** Of other packages; here they do nothing. */
const STUBS = ['sysinit', 'basic', 'shutdown', 'sockets', 'multi-user', 'network-online', 'test'];

/**
 * What becomes of a fresh set of namespaces before systemd is their first process: folder, whether control groups are of
 * version 2. The underlay is a bridge without ports.
 */
const BOOT = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind "$1/boot-id" /proc/sys/kernel/random/boot_id
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$1/console" /dev/console
mount --bind "$1/etc" /etc
mount --bind "$1/units" /usr/lib/systemd/system
mount --bind "$1/generators" /usr/lib/systemd/system-generators
mount --bind "$1/programs" /usr/local/sbin
mount --bind "$1/state" /var/lib
mount -t bpf bpf /sys/fs/bpf
if [ "$2" = true ]; then
  mount -t cgroup2 cgroup2 ${CGROUPS}
else
  mount -t tmpfs tmpfs ${CGROUPS}
  mkdir ${CGROUPS}/systemd
  mount -t cgroup -o none,name=systemd cgroup ${CGROUPS}/systemd
fi
ip link set lo up
ip link add eth0 type bridge
ip address add 192.0.2.1/24 dev eth0
ip link set eth0 up
ip route add default via 192.0.2.254
export container=weft
exec ${SYSTEMD} --system --unit=test.target --log-target=console`;

/**
 * A drop-in with which a system call beyond the unit's filter ends the process, where it is refused in the field: a refusal may
 * go unnoticed. Node asks for io_uring, and does without it.
 */
export const STRICT = `[Service]
SystemCallErrorNumber=kill
SystemCallFilter=io_uring_setup io_uring_enter io_uring_register
`;

/** Why there is no systemd to try; `false` when there is. */
export const cannotRunSystemd = (): string | false => {
  if (process.getuid?.() !== 0) return 'needs root';
  return !existsSync(SYSTEMD) && `${SYSTEMD} is not installed`;
};

export interface SystemdHostOptions {
  /** Files of packaging/systemd/, as they are. */
  readonly units: readonly string[];
  /** Further units and drop-ins, by name. */
  readonly more?: Readonly<Record<string, string>>;
  /** What is in /etc beside what this machine has there, by path. */
  readonly etc: Readonly<Record<string, string>>;
  /** Programs of a release, in the place of this checkout's. */
  readonly release?: BuiltRelease;
  /** Ours that systemd calls at each reload. */
  readonly generators?: readonly string[];
  /** Programs beside ours, by name. */
  readonly programs?: Readonly<Record<string, string>>;
  /** What is in /var/lib, by path. */
  readonly state?: Readonly<Record<string, string>>;
}

/** A host whose first process is a real systemd, with units of ours and no others. */
export class SystemdHost {
  readonly #folder: string;
  readonly #pid: number;

  static async start(t: TestContext, options: SystemdHostOptions): Promise<SystemdHost> {
    const folder = mkdtempSync(join(tmpdir(), 'weft-test-'));
    const cleanUps: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
    t.after(async () => {
      for (const cleanUp of cleanUps.reverse()) await cleanUp();
    });
    furnish(folder, options);
    const bootId = randomUUID();
    writeFileSync(join(folder, 'boot-id'), `${bootId}\n`);
    const groups = makeControlGroups(`weft-test-${process.pid}-s${++made}`);
    // A systemd that is killed leaves what PrivateTmp= made.
    cleanUps.push(() => {
      for (const path of privateFolders(bootId)) rmSync(path, { recursive: true });
    }, groups.remove);
    const boot = `${groups.enter}; exec "$@"`;
    const namespaces = ['--pid', '--mount', '--uts', '--ipc', '--net', '--cgroup'];
    // It ends with this process, however that ends.
    const tied = ['setpriv', '--pdeathsig', 'KILL'];
    const unshare = [...tied, 'unshare', '--fork', '--kill-child', ...namespaces, 'sh', '-c', BOOT];
    const child = spawn(
      'sh',
      ['-ec', boot, 'sh', ...unshare, 'sh', folder, String(groups.version === 'v2')],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    const ended = once(child, 'exit');
    cleanUps.push(() => {
      child.kill('SIGKILL');
      return ended;
    });
    const first = () =>
      Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ')[0] ?? 0);
    await until(() => child.exitCode !== null || first() > 0, { what: 'first process' });
    const host = new SystemdHost(folder, first());
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`systemd did not start: ${said}`);
        return host.run(['systemctl', 'is-active', 'test.target']).stdout === 'active';
      },
      { what: 'systemd', timeoutMs: 60_000, intervalMs: 50 },
    );
    return host;
  }

  private constructor(folder: string, pid: number) {
    this.#folder = folder;
    this.#pid = pid;
  }

  /** A program outside of every unit; a failure is a result. */
  run(argv: readonly string[]): {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  } {
    const enter = ['--target', String(this.#pid), '--mount', '--pid', '--net', '--uts', '--'];
    const env = { ...process.env, PATH };
    const { status, stdout, stderr } = spawnSync('nsenter', [...enter, ...argv], { encoding: 'utf8', env });
    return { code: status, stdout: stdout.trim(), stderr: stderr.trim() };
  }

  must(argv: readonly string[]): string {
    const { code, stdout, stderr } = this.run(argv);
    if (code === 0) return stdout;
    throw new Error(`${argv.join(' ')} ended with ${code}: ${stderr}`);
  }

  /** Where a file of this host is found on the machine. */
  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  /** What a unit printed so far, standard error too. */
  log(unit: string): string {
    const path = join(this.#folder, `${unit}.log`);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Puts a shell script among the programs of this host, in place of one that is there. */
  setProgram(name: string, text: string): void {
    this.removeProgram(name);
    // Never through a link: that would lead to a file of the machine.
    writeFileSync(join(this.#folder, 'programs', name), text, { mode: 0o755, flag: 'wx' });
  }

  removeProgram(name: string): void {
    rmSync(join(this.#folder, 'programs', name), { force: true });
  }

  mainPid(unit: string): string {
    return this.must(['systemctl', 'show', '--property=MainPID', '--value', unit]);
  }
}

function furnish(
  folder: string,
  { units, more = {}, etc, release, generators = [], programs = {}, state = {} }: SystemdHostOptions,
): void {
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    // The copy of /etc has links that lead to files of the machine.
    rmSync(join(folder, path), { force: true });
    writeFileSync(join(folder, path), text);
  };
  write('console', '');
  for (const part of ['state', 'generators', 'programs']) mkdirSync(join(folder, part));
  cpSync('/etc', join(folder, 'etc'), { recursive: true, verbatimSymlinks: true });
  // Units and links of this machine are not this host's.
  rmSync(join(folder, 'etc/systemd/system'), { recursive: true, force: true });
  mkdirSync(join(folder, 'etc/systemd/system'), { recursive: true });
  install(join(folder, 'programs'), release);
  for (const name of generators) symlinkSync(`/usr/local/sbin/${name}`, join(folder, 'generators', name));
  for (const [name, text] of Object.entries(programs))
    writeFileSync(join(folder, 'programs', name), text, { mode: 0o755, flag: 'wx' });
  for (const name of STUBS) write(`units/${name}.target`, '[Unit]\nDefaultDependencies=no\n');
  write(
    'units/modprobe@.service',
    '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/true\n',
  );
  for (const name of units) {
    write(`units/${name}`, readFileSync(join(ROOT, 'packaging/systemd', name), 'utf8'));
    if (!name.endsWith('.service')) continue;
    const log = `append:${join(folder, `${name}.log`)}`;
    // A sandbox would hide a checkout below /tmp.
    const hidden = release === undefined && ROOT.startsWith('/tmp/') ? ['PrivateTmp=no'] : [];
    const settings = [`StandardOutput=${log}`, `StandardError=${log}`, ...hidden];
    write(`units/${name}.d/test-host.conf`, `[Service]\n${settings.join('\n')}\n`);
  }
  for (const [name, text] of Object.entries(more)) write(`units/${name}`, text);
  for (const [path, text] of Object.entries(etc)) write(`etc/${path}`, text);
  for (const [name, text] of Object.entries(state)) write(`state/${name}`, text);
}

/** Links to the programs of this checkout, or those of a release. */
function install(folder: string, release: BuiltRelease | undefined): void {
  if (release === undefined) {
    for (const name of readdirSync(join(ROOT, 'bin')))
      symlinkSync(join(ROOT, 'bin', name), join(folder, name));
    return;
  }
  // It may lie where a sandbox would not see it, and is too large for a copy.
  linkSync(release.executable, join(folder, 'weft'));
  for (const name of readdirSync(dirname(release.executable)))
    if (name !== 'weft') symlinkSync('weft', join(folder, name));
}

/** What a systemd makes for PrivateTmp=: it puts the ID of its boot into the names. */
const privateFolders = (bootId: string): string[] =>
  ['/tmp', '/var/tmp'].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.startsWith(`systemd-private-${bootId.replaceAll('-', '')}-`))
      .map((name) => join(folder, name)),
  );

let made = 0;

/** A control group of its own, which is systemd's root. */
