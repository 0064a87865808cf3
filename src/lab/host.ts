import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type LabComponents, outputOf } from '#src/lab/components.ts';
import { Machine, type MachineOptions } from '#src/lab/machine.ts';
import { WeftError } from '#src/lib/errors.ts';

export interface HostOptions extends MachineOptions {
  /** The network namespace, below /run/netns. */
  readonly namespace: string;
  /** Address on the underlay, dotted. */
  readonly address: string;
  /** A folder on a mount that does not propagate: its files hold the host's mount and UTS namespaces. */
  readonly held: string;
}

/**
 * Lays the host's /run, /var/lib and machine-id over the machine's, in a mount namespace that the host keeps. What one of
 * its programs mounts there, the next one finds: `ip netns add`, dockerd's namespaces and layers. /run comes last, for the
 * folder it comes from may be below it. Slave propagation lets other labs' namespaces go when they are deleted;
 * `mount -n` leaves nothing in /run/mount.
 */
const FURNISH = `
set -e
mount -n --bind "$1/lib" /var/lib
[ ! -f /etc/machine-id ] || mount -n --bind "$1/machine-id" /etc/machine-id
echo "$2" > /proc/sys/kernel/hostname
mount -n --bind "$1/run" /run`;

/** The folders of a host's own, as its programs see them and below the host's folder. */
const OWN_FOLDERS = [
  ['/run/', 'run'],
  ['/var/run/', 'run'],
  ['/var/lib/', 'lib'],
] as const;

/**
 * A host: a network, a mount and a UTS namespace with its own /run, /var/lib, host name and machine-id. Programs in it see the
 * machine's other files and processes. /sys stays the machine's, for dockerd needs its control groups.
 * A program that is entered from outside starts in /, for the machine's folders are not the host's.
 */
export class Host extends Machine {
  readonly namespace: string;
  readonly address: string;
  readonly #held: string;

  constructor(components: LabComponents, options: HostOptions) {
    super(components, options);
    this.namespace = options.namespace;
    this.address = options.address;
    this.#held = options.held;
  }

  /** Makes the namespaces, loopback up, and the host's folders. Equals `ip netns add NAME` and unshare(1). */
  async make(): Promise<void> {
    const { commands, files, folders } = this.components;
    for (const part of ['run', 'lib']) await folders.make(join(this.folder, part));
    await files.write(join(this.folder, 'machine-id'), `${machineId(this.namespace)}\n`);
    const add = ['ip', 'netns', 'add', this.namespace] as const;
    outputOf(add, await commands.run(add));
    const holders = this.#holders();
    // unshare mounts the namespaces over files that are there.
    for (const holder of holders) await files.write(holder.slice(holder.indexOf('=') + 1), '');
    const furnish = ['sh', '-c', FURNISH, 'sh', this.folder, this.name];
    await this.#unshare([...holders, '--propagation', 'slave', ...furnish]);
    await this.batch(['link set lo up']);
  }

  /**
   * A file holds a mount namespace only if that is younger than the one that the file is in: if its number is greater
   * (mnt_ns_loop of fs/namespace.c). Linux 6.18 gives each processor numbers of its own, so that in a young namespace, as a
   * container has, some of them make only numbers that are less.
   */
  async #unshare(words: readonly string[]): Promise<void> {
    const { commands } = this.components;
    const argv = ['unshare', ...words] as const;
    let result = await commands.run(argv);
    for (let cpu = 0; /Invalid argument/.test(result.stderr) && cpu < availableParallelism(); cpu++)
      result = await commands.run(['taskset', '-c', String(cpu), ...argv]);
    outputOf(argv, result);
  }

  override enter(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', this.#network(), ...this.#holders(), '--', ...argv];
  }

  override enterNetwork(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', this.#network(), '--', ...argv];
  }

  override get shared(): { inside: string; outside: string } {
    return { inside: '/run/lab', outside: this.path('/run/lab') };
  }

  /** Where a file of this host below /run or /var/lib is found on the machine. */
  path(path: string): string {
    const own = OWN_FOLDERS.find(([prefix]) => path.startsWith(prefix));
    if (own === undefined) {
      throw new WeftError('lab-path', `${path} is not ${this.name}'s own: only /run and /var/lib are`);
    }
    return join(this.folder, own[1], path.slice(own[0].length));
  }

  /** A file below /run or /var/lib as this host sees it; `undefined` when there is none. */
  read(path: string): Promise<string | undefined> {
    return this.components.files.read(this.path(path));
  }

  /** Writes a file below /run or /var/lib as this host sees it; makes its folder. */
  write(path: string, text: string, mode = 0o644): Promise<void> {
    return this.components.files.writeAtomically(this.path(path), text, mode);
  }

  #network(): string {
    return `--net=/run/netns/${this.namespace}`;
  }

  /** As unshare(1) makes the namespaces and nsenter(1) enters them. */
  #holders(): string[] {
    return [
      `--mount=${join(this.#held, `${this.name}-mount`)}`,
      `--uts=${join(this.#held, `${this.name}-uts`)}`,
    ];
  }
}

/** 32 hex digits, the same for the same name: a host keeps its identity when the lab is made again. */
function machineId(name: string): string {
  return Buffer.from(name).toString('hex').padEnd(32, '0').slice(-32);
}
