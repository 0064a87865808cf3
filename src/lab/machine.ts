import { join } from 'node:path';
import { type LabComponents, outputOf } from '#src/lab/components.ts';
import { Daemon, type DaemonRecord } from '#src/lab/daemon.ts';
import type { CommandOptions, CommandResult } from '#src/sys/command.ts';
import { patience, until } from '#src/sys/until.ts';

/** An object as `ip -j` or `bridge -j` prints it. Its fields depend on its kind. */
export interface IpRecord {
  readonly ifname?: string;
  readonly ifindex?: number;
  readonly mtu?: number;
  readonly operstate?: string;
  readonly flags?: readonly string[];
  readonly address?: string;
  readonly master?: string;
  readonly dst?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly lladdr?: string;
  readonly mac?: string;
  readonly state?: string | readonly string[];
  readonly local?: string;
  readonly prefixlen?: number;
  readonly addr_info?: readonly IpRecord[];
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Readonly<Record<string, unknown>> };
  readonly [field: string]: unknown;
}

export interface MachineOptions {
  readonly name: string;
  /** Holds the records and logs of its long-running programs. */
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
}

/** Many hosts share this machine: on a busy one `weft doctor` takes more than ten seconds. */
const COMMAND_MS = 30_000;

/** What programs run in: a host, or a container on one. Programs and most files are this machine's own. */
export abstract class Machine {
  readonly name: string;
  readonly folder: string;
  readonly signal: AbortSignal | undefined;
  readonly components: LabComponents;

  constructor(components: LabComponents, options: MachineOptions) {
    this.components = components;
    this.name = options.name;
    this.folder = options.folder;
    this.signal = options.signal;
  }

  /** The command that runs `argv` in it. */
  abstract enter(argv: readonly string[]): [string, ...string[]];

  /** The command that runs `argv` in its network only: it saves a few milliseconds, which is seconds with many hosts. */
  abstract enterNetwork(argv: readonly string[]): [string, ...string[]];

  /** A folder for files that programs in it and this machine share: its path in there, and the one out here. */
  abstract get shared(): { readonly inside: string; readonly outside: string };

  /** Runs a command to its end; a failure is a result. */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.#run(this.enter(argv), options);
  }

  /** Runs a command and returns its standard output; throws `lab-command` when it fails. */
  async must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return outputOf([`${this.name}:`, ...argv], await this.run(argv, options));
  }

  /** Many `ip` commands, one a line and without the word `ip`, in one process; the first failure throws. */
  async batch(lines: readonly string[]): Promise<void> {
    await this.#network(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
  }

  /** `ip -j ARGUMENTS`, or `bridge -j ARGUMENTS`, parsed. */
  async ip(args: readonly string[], program: 'ip' | 'bridge' = 'ip'): Promise<IpRecord[]> {
    const text = await this.#network([program, '-j', ...args]);
    // iproute2 writes an empty object for each object that a filter left out.
    return text.trim() === ''
      ? []
      : (JSON.parse(text) as IpRecord[]).filter((it) => Object.keys(it).length > 0);
  }

  /** Waits until packets can leave by these devices: the kernel drops them for a moment after the other end came up. */
  async untilUp(...devices: readonly string[]): Promise<void> {
    // UNKNOWN is a bridge that had its carrier from the beginning.
    const isUp = async (device: string): Promise<boolean> =>
      ['UP', 'UNKNOWN'].includes((await this.ip(['link', 'show', 'dev', device]))[0]?.operstate ?? '');
    for (const device of devices)
      await until(() => isUp(device), { what: `link of ${device} on ${this.name}`, signal: this.signal });
  }

  /** Starts a long-running program under a name; its log goes on where an earlier start left it. */
  async start(
    name: string,
    argv: readonly string[],
    { env = {} }: { readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<Daemon> {
    const logPath = this.logPath(name);
    const id = await this.components.processes.start(this.enter(argv), { logPath, env });
    const record: DaemonRecord = { argv, env, id };
    await this.components.files.writeAtomically(this.#recordPath(name), JSON.stringify(record));
    return new Daemon(this.components, { name, logPath, record, signal: this.signal });
  }

  /** A program that any process started under this name. It may have ended. */
  async daemon(name: string): Promise<Daemon | undefined> {
    const text = await this.components.files.read(this.#recordPath(name));
    if (text === undefined) return undefined;
    const record = JSON.parse(text) as DaemonRecord;
    return new Daemon(this.components, { name, logPath: this.logPath(name), record, signal: this.signal });
  }

  logPath(name: string): string {
    return join(this.folder, `${name}.log`);
  }

  async #network(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return outputOf([`${this.name}:`, ...argv], await this.#run(this.enterNetwork(argv), options));
  }

  #run(argv: [string, ...string[]], options: CommandOptions): Promise<CommandResult> {
    const signal = this.signal === undefined ? {} : { signal: this.signal };
    const { timeoutMs = COMMAND_MS, ...others } = options;
    return this.components.commands.run(argv, { ...signal, ...others, timeoutMs: timeoutMs * patience() });
  }

  #recordPath(name: string): string {
    return join(this.folder, `${name}.json`);
  }
}
