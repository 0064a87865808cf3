import { join } from 'node:path';
import { type LabComponents, outputOf } from '#src/lab/components.ts';
import { Host } from '#src/lab/host.ts';
import { cgroupName, heldFolder, namespacePrefix, tearDown } from '#src/lab/teardown.ts';
import { placeOf, type UnderlayKind, type UnderlayPlan, underlayLines } from '#src/lab/underlay.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Ipv4, ipv4 } from '#src/lib/ip.ts';
import { missingCapabilities } from '#src/sys/capabilities.ts';

export interface LabOptions {
  /** Small letters and digits, at most 20. Everything the lab makes is found again by it. */
  readonly name: string;
  /** Hosts `h1` … `hN`, in addition to `store`, which runs the registry. */
  readonly hosts: number;
  /** Default `l2`. */
  readonly underlay?: UnderlayKind;
  /** The store's address; host n is n further on. Default 172.16.70.190. */
  readonly base?: Ipv4;
  /** Of the underlay. Default 1500. */
  readonly mtu?: number;
  /** Folder of all labs. Default {@link LAB_ROOT}. */
  readonly root?: string;
  /** Ends whatever is under way; `down` is not affected. */
  readonly signal?: AbortSignal;
  /** Called before each step that takes time. */
  readonly onStep?: (step: string) => void;
}

/** What is written down before anything is made. */
interface LabRecord extends UnderlayPlan {
  readonly name: string;
  /** Name and number of every host, `store` among them. */
  readonly hosts: readonly { readonly name: string; readonly number: number }[];
}

/** Labs are recorded in a folder in memory: after a reboot, the records and the namespaces are gone. */
export const LAB_ROOT = '/run/weft/lab';
const DEFAULT_BASE = ipv4(0xac1046be);

/**
 * A network of hosts on this machine: an underlay and, on it, hosts in network namespaces.
 *
 * All that a lab makes is in a namespace whose name begins `weft-NAME-`, in a control group `weft-NAME`, in its
 * folder, which holds its hosts' mounts, or is a process in one of those. So {@link Lab.down} needs no list, finds what a crash left behind, and
 * touches nothing else.
 */
export class Lab implements AsyncDisposable {
  readonly name: string;
  /** The hosts with numbers above 0, in the order they were made. */
  readonly hosts: Host[] = [];
  /** The registry's hosts, with numbers 0 and below: `store`, and further members. */
  readonly stores: Host[] = [];
  readonly components: LabComponents;
  readonly root: string;
  readonly signal: AbortSignal | undefined;
  #record: LabRecord;

  private constructor(
    components: LabComponents,
    options: { root: string; signal: AbortSignal | undefined },
    record: LabRecord,
  ) {
    this.components = components;
    this.root = options.root;
    this.signal = options.signal;
    this.name = record.name;
    this.#record = record;
    for (const { name, number } of record.hosts) this.#admit(this.#host(name, number), number);
  }

  /** Makes the underlay and the hosts. A failure removes what was made. */
  static async create(components: LabComponents, options: LabOptions): Promise<Lab> {
    const { name, root = LAB_ROOT, onStep = () => {} } = options;
    checkName(name);
    await refuseWithoutRights(components, name);
    await components.folders.make(root);
    if (!(await components.folders.claim(join(root, name)))) {
      throw new WeftError('lab-exists', `cannot make lab ${name}: it exists`, {
        remedy: `remove it with: weft lab down --name ${name}`,
      });
    }
    const record: LabRecord = {
      name,
      kind: options.underlay ?? 'l2',
      base: options.base ?? DEFAULT_BASE,
      mtu: options.mtu ?? 1500,
      hosts: [],
    };
    const lab = new Lab(components, { root, signal: options.signal }, record);
    try {
      await lab.#write(record);
      await lab.#makeHeld();
      onStep(`underlay ${record.kind}`);
      await lab.#makeUnderlay();
      await lab.addHost('store', 0);
      for (let number = 1; number <= options.hosts; number++) {
        onStep(`host h${number}`);
        await lab.addHost(`h${number}`, number);
      }
      return lab;
    } catch (error) {
      await lab.down();
      throw error;
    }
  }

  /** A lab that runs; throws `no-such-lab`. */
  static async open(
    components: LabComponents,
    { name, root = LAB_ROOT, signal }: { name: string; root?: string; signal?: AbortSignal },
  ): Promise<Lab> {
    checkName(name);
    await refuseWithoutRights(components, name);
    const text = await components.files.read(join(root, name, 'lab.json'));
    if (text === undefined) {
      throw new WeftError('no-such-lab', `there is no lab ${name}`, { remedy: 'make one with: weft lab up' });
    }
    return new Lab(components, { root, signal }, JSON.parse(text) as LabRecord);
  }

  /** Removes the lab of this name, or what is left of it. */
  static async remove(
    components: LabComponents,
    { name, root = LAB_ROOT }: { name: string; root?: string },
  ): Promise<void> {
    checkName(name);
    await refuseWithoutRights(components, name);
    await tearDown(components, { name, folder: join(root, name) });
  }

  get folder(): string {
    return join(this.root, this.name);
  }

  get #held(): string {
    return heldFolder(this.folder);
  }

  /** The host that runs the registry. */
  get store(): Host {
    return this.host('store');
  }

  get underlay(): UnderlayKind {
    return this.#record.kind;
  }

  /** Where dockerd puts its containers' control groups: `--cgroup-parent`. */
  get cgroup(): string {
    return cgroupName(this.name);
  }

  /** The namespace of the bridge or router, where a host's link is called like the host. */
  get wire(): string {
    return this.namespace('net');
  }

  namespace(part: string): string {
    return `${namespacePrefix(this.name)}${part}`;
  }

  /** A host by name; throws `no-such-host`, naming those there are. */
  host(name: string): Host {
    const all = [...this.stores, ...this.hosts];
    const found = all.find((host) => host.name === name);
    if (found === undefined) {
      const names = all.map((host) => host.name).join(', ');
      throw new WeftError('no-such-host', `lab ${this.name} has no host ${name}, it has ${names}`);
    }
    return found;
  }

  /** One more host on the underlay, at its number's address. */
  async addHost(name: string, number: number): Promise<Host> {
    const host = this.#host(name, number);
    await this.#makeHost(host, number);
    this.#admit(host, number);
    return host;
  }

  /** Runs `ip -batch` lines where the underlay's bridge or router is. */
  async onWire(lines: readonly string[]): Promise<void> {
    const argv = ['ip', '-n', this.wire, '-batch', '-'] as const;
    const signal = this.signal === undefined ? {} : { signal: this.signal };
    outputOf(argv, await this.components.commands.run(argv, { stdin: `${lines.join('\n')}\n`, ...signal }));
  }

  /** Ends all processes of the lab and removes everything that it made. It may be called twice. */
  async down(): Promise<void> {
    await tearDown(this.components, { name: this.name, folder: this.folder });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #admit(host: Host, number: number): void {
    (number > 0 ? this.hosts : this.stores).push(host);
  }

  /** What holds a mount namespace must not propagate into one (mount_namespaces(7)). */
  async #makeHeld(): Promise<void> {
    await this.components.folders.make(this.#held);
    for (const step of [['--bind', this.#held], ['--make-private']]) {
      const argv = ['mount', '-n', ...step, this.#held] as const;
      outputOf(argv, await this.components.commands.run(argv));
    }
  }

  async #makeUnderlay(): Promise<void> {
    const add = ['ip', 'netns', 'add', this.wire] as const;
    outputOf(add, await this.components.commands.run(add));
    await this.onWire(underlayLines(this.#record));
    if (this.#record.kind === 'l3') {
      const argv = ['ip', 'netns', 'exec', this.wire, 'sysctl', '-qw', 'net.ipv4.ip_forward=1'] as const;
      outputOf(argv, await this.components.commands.run(argv));
    }
  }

  async #makeHost(host: Host, number: number): Promise<void> {
    await this.#write({ ...this.#record, hosts: [...this.#record.hosts, { name: host.name, number }] });
    await host.make();
    const place = placeOf(this.#record, host.name, number, host.namespace);
    await this.onWire(place.wire);
    await host.batch(place.host);
    await host.untilUp('eth0');
  }

  async #write(record: LabRecord): Promise<void> {
    this.#record = record;
    await this.components.files.writeAtomically(join(this.folder, 'lab.json'), `${JSON.stringify(record)}\n`);
  }

  #host(name: string, number: number): Host {
    const namespace = this.namespace(name);
    return new Host(this.components, {
      name,
      namespace,
      address: placeOf(this.#record, name, number, namespace).address,
      folder: join(this.folder, 'hosts', name),
      held: this.#held,
      signal: this.signal,
    });
  }
}

/** Namespaces, devices and control groups need root. Without it a lab would fail half-way, or seem to be gone. */
async function refuseWithoutRights({ files }: LabComponents, name: string): Promise<void> {
  const missing = await missingCapabilities(files, ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']);
  if (missing.length === 0) return;
  throw new WeftError(
    'lab-rights',
    `lab ${name} can't be made, entered or removed without root (${missing.join(' and ')})`,
    { remedy: 'run the command with sudo' },
  );
}

function checkName(name: string): void {
  if (/^[a-z0-9]{1,20}$/.test(name)) return;
  throw new WeftError('lab-name', `a lab's name is 1 to 20 small letters and digits, not "${name}"`);
}
