import { join } from 'node:path';
import { type LabComponents, outputOf } from '#src/lab/components.ts';
import { Machine, type MachineOptions } from '#src/lab/machine.ts';
import { WeftError } from '#src/lib/errors.ts';

export interface HostOptions extends MachineOptions {
  /** The network namespace, below /run/netns. */
  readonly namespace: string;
  /** Address on the underlay, dotted. */
  readonly address: string;
}

/**
 * Enters a mount and host name namespace of the process's own: the host's /run, /var/lib and machine-id lie over
 * the machine's. /run comes last, for the folder it comes from may be below it. Slave propagation lets other labs'
 * namespaces go when they are deleted; `mount -n` leaves nothing in /run/mount.
 */
const ENTER = `
set -e
mount -n --bind "$1/lib" /var/lib
[ ! -f /etc/machine-id ] || mount -n --bind "$1/machine-id" /etc/machine-id
echo "$2" > /proc/sys/kernel/hostname
mount -n --bind "$1/run" /run
shift 2
exec "$@"`;

/** The folders of a host's own, as its programs see them and below the host's folder. */
const OWN_FOLDERS = [
  ['/run/', 'run'],
  ['/var/run/', 'run'],
  ['/var/lib/', 'lib'],
] as const;

/**
 * A host: a network namespace with its own /run, /var/lib, host name and machine-id. Programs in it see the
 * machine's other files and processes. /sys stays the machine's, for dockerd needs its control groups.
 */
export class Host extends Machine {
  readonly namespace: string;
  readonly address: string;

  constructor(components: LabComponents, options: HostOptions) {
    super(components, options);
    this.namespace = options.namespace;
    this.address = options.address;
  }

  /** Makes the namespace, its loopback up, and the host's folders. Equals `ip netns add NAME`. */
  async make(): Promise<void> {
    const { commands, files, folders } = this.components;
    for (const part of ['run', 'lib']) await folders.make(join(this.folder, part));
    await files.write(join(this.folder, 'machine-id'), `${machineId(this.namespace)}\n`);
    const add = ['ip', 'netns', 'add', this.namespace] as const;
    outputOf(add, await commands.run(add));
    await this.batch(['link set lo up']);
  }

  override enter(argv: readonly string[]): [string, ...string[]] {
    const mounts = ['unshare', '--mount', '--uts', '--propagation', 'slave', 'sh', '-c', ENTER, 'sh'];
    return this.enterNetwork([...mounts, this.folder, this.name, ...argv]);
  }

  override enterNetwork(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${this.namespace}`, '--', ...argv];
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
}

/** 32 hex digits, the same for the same name: a host keeps its identity when the lab is made again. */
function machineId(name: string): string {
  return Buffer.from(name).toString('hex').padEnd(32, '0').slice(-32);
}
