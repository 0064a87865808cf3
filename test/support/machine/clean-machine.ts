import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { outputOf, systemLabComponents } from '#src/lab/components.ts';
import { Machine } from '#src/lab/machine.ts';
import type { Place } from '#src/lab/underlay.ts';
import type { CommandOptions, CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { inRepository } from '../flanneld.ts';
import type { Owner } from '../test-lab.ts';
import { type ControlGroups, makeControlGroups } from './control-groups.ts';
import { debianRoot } from './debian-root.ts';
import type { Underlay } from './underlay.ts';

export interface CleanMachineOptions {
  /** Its host name. */
  readonly name: string;
  /** Its place on the underlay: number n has 172.16.70.(190 + n). */
  readonly number: number;
  readonly underlay: Underlay;
  /** What lies over the clean Debian, the topmost first: folders as overlayfs takes them. */
  readonly layers?: readonly string[];
}

/** `env -i`: what a login of root has, and nothing of the test's. */
const ENVIRONMENT = [
  'HOME=/root',
  'LC_ALL=C.UTF-8',
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'TERM=dumb',
  'DEBIAN_FRONTEND=noninteractive',
];
const BOOT_MS = 180_000;
/** apt and Docker take their time on a machine with little to spare. */
const COMMAND_MS = 120_000;

let made = 0;

/**
 * A server with a clean Debian, Docker and systemd as its first process, in namespaces of its own:
 *
 *     underlay 172.16.70.1/16 ── eth0 172.16.70.(190 + n)   systemd ── containerd, dockerd, …
 *     its disk: a new empty folder over the folder that script/debian-root made
 *
 * It shares the kernel with the test's machine, its modules, and all of /proc/sys but net. It has no udev, and no network but
 * the underlay. No file of the checkout is seen in it. What is on its disk stays over a {@link reboot}.
 */
export class CleanMachine extends Machine {
  readonly namespace: string;
  readonly #options: CleanMachineOptions;
  readonly #place: Place;
  #groups: ControlGroups | undefined;
  #child: ChildProcess | undefined;
  #said = '';
  #first = 0;

  /** Boots it, until all that starts at a boot has started. */
  static async start(owner: Owner, options: CleanMachineOptions): Promise<CleanMachine> {
    const machine = new CleanMachine(`weft-test-${process.pid}-m${++made}`, owner.signal, options);
    owner.after(async () => rmSync(machine.folder, { recursive: true, force: true }));
    machine.#furnish();
    owner.after(() => machine.#stop());
    await machine.#boot();
    return machine;
  }

  private constructor(namespace: string, signal: AbortSignal, options: CleanMachineOptions) {
    super(systemLabComponents(), { name: options.name, folder: join(tmpdir(), namespace), signal });
    this.#options = options;
    this.namespace = namespace;
    this.#place = options.underlay.placeOf(namespace.slice(-15), options.number, namespace);
  }

  /** On the underlay. */
  get address(): string {
    return this.#place.address;
  }

  /** Its first process, by its number on the test's machine; another one after a reboot. */
  get firstPid(): number {
    return this.#first;
  }

  override enter(argv: readonly string[]): [string, ...string[]] {
    const all = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
    return ['nsenter', '--target', String(this.#first), ...all, '--', 'env', '-i', ...ENVIRONMENT, ...argv];
  }

  override enterNetwork(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', '--target', String(this.#first), '--net', '--', ...argv];
  }

  override get shared(): { inside: string; outside: string } {
    return { inside: '/srv', outside: this.path('/srv') };
  }

  override run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return super.run(argv, { timeoutMs: COMMAND_MS, ...options });
  }

  /** A script of sh, which ends with the first command that fails; its standard output. */
  script(text: string, options: CommandOptions = {}): Promise<string> {
    return this.must(['sh', '-euc', text], options);
  }

  /** Where a file of this machine is found on the test's. */
  path(path: string): string {
    return `/proc/${this.#first}/root${path}`;
  }

  /** Copies a file, or a folder with all that is in it. */
  copyIn(from: string, to: string): void {
    mkdirSync(dirname(this.path(to)), { recursive: true });
    cpSync(from, this.path(to), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  }

  write(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), text, { mode });
  }

  read(path: string): string {
    return readFileSync(this.path(path), 'utf8');
  }

  /** What a unit wrote to the journal since the boot. */
  log(unit: string): Promise<string> {
    return this.must(['journalctl', '--no-pager', '--output=cat', '--boot', `--unit=${unit}`]);
  }

  /** A property of a unit, as `systemctl show --value` prints it. */
  async unit(unit: string, property: string): Promise<string> {
    return (await this.must(['systemctl', 'show', `--property=${property}`, '--value', unit])).trim();
  }

  /** `systemctl reboot`: services stop in their order, the kernel's state goes, the disk stays. */
  async reboot(): Promise<void> {
    const child = this.#child;
    // It may be gone before it says so.
    await this.run(['systemctl', 'reboot']);
    await until(() => child?.exitCode !== null || child.signalCode !== null, {
      what: `end of ${this.name}`,
      timeoutMs: BOOT_MS,
      signal: this.signal,
    });
    await this.#stop();
    await this.#boot();
  }

  #furnish(): void {
    const { name } = this.#options;
    for (const part of ['root', 'upper/etc', 'work', 'docker', 'containerd'])
      mkdirSync(join(this.folder, part), { recursive: true, mode: 0o755 });
    const etc = (file: string, text: string) => writeFileSync(join(this.folder, 'upper/etc', file), text);
    etc('hostname', `${name}\n`);
    etc('hosts', `127.0.0.1 localhost\n${this.address} ${name}\n`);
    etc('machine-id', `${Buffer.from(`${name} `).toString('hex').padEnd(32, '0').slice(0, 32)}\n`);
    // Reserved for documentation (RFC 5737): nobody answers.
    etc('resolv.conf', 'nameserver 192.0.2.53\n');
    writeFileSync(join(this.folder, 'console'), '');
  }

  async #boot(): Promise<void> {
    const add = ['ip', 'netns', 'add', this.namespace] as const;
    outputOf(add, await this.components.commands.run(add));
    await this.#options.underlay.connect(this.#place, this.namespace);
    this.#groups = makeControlGroups(this.namespace);
    const { enter, version } = this.#groups;
    // Without a process between: the only child is to be the machine's first process.
    const lower = [...(this.#options.layers ?? []), debianRoot()].join(':');
    const child = spawn(
      'sh',
      [
        ...['-ec', `${enter}; exec "$@"`, 'sh', 'nsenter', `--net=/run/netns/${this.namespace}`],
        // It ends with this process, however that ends.
        ...['setpriv', '--pdeathsig', 'KILL', 'unshare', '--fork', '--kill-child'],
        ...['--pid', '--mount', '--uts', '--ipc', '--cgroup'],
        ...[inRepository('test/support/machine/boot'), this.folder, lower, this.name, version],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    this.#said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text;
      });
    const first = () =>
      Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ')[0] ?? 0);
    await this.#whileItLives('first process', () => {
      this.#first = first();
      return this.#first > 0;
    });
    await this.#whileItLives('end of the boot', async () => {
      const { stdout } = await this.run(['systemctl', 'is-system-running']);
      return /^(running|degraded)$/m.test(stdout);
    });
  }

  async #whileItLives(what: string, ask: () => boolean | Promise<boolean>): Promise<void> {
    const child = this.#child;
    await until(
      () => {
        if (child?.exitCode !== null || child.signalCode !== null)
          throw new Error(`${this.name} did not boot: ${this.#said}`);
        return ask();
      },
      { what: `${what} of ${this.name}`, timeoutMs: BOOT_MS, intervalMs: 50, signal: this.signal },
    );
  }

  /** Takes the power away, and all that is not on the disk. */
  async #stop(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    this.#child = undefined;
    await this.#groups?.remove();
    this.#groups = undefined;
    await this.#options.underlay.disconnect(this.#place.wire[0]?.split(' ')[2] ?? '');
    await this.components.commands.run(['ip', 'netns', 'delete', this.namespace]);
  }
}
