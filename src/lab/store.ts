import { outputOf } from '#src/lab/components.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';

/** Paths as every host sees them. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** On a busy machine etcdctl's own 2 and 5 s are over while it waits for a processor. */
const PATIENCE = {
  v2: ['--timeout=10s', '--total-timeout=20s'],
  v3: ['--dial-timeout=10s', '--command-timeout=20s'],
} as const;

/** What coordinates a lab's hosts: a real etcd, or the embedded store, which speaks the same API. */
export abstract class Store {
  readonly members: readonly StoreMember[];
  /** What clients connect to, one per member. */
  readonly endpoints: readonly string[];
  /** Only with TLS. */
  readonly certificates: Certificates | undefined;

  protected constructor(members: readonly StoreMember[], certificates: Certificates | undefined) {
    this.members = members;
    this.endpoints = members.map((member) => member.endpoint);
    this.certificates = certificates;
  }

  /** Waits until every member answers. */
  abstract ready(): Promise<void>;

  abstract put(key: string, value: string): Promise<void>;

  /** Forgets all revisions but the present one. */
  abstract compact(): Promise<void>;

  /** `etcdctl ARGUMENTS` on the first member's host, with one of the two APIs. */
  run(api: 2 | 3, args: readonly string[], stdin?: string): Promise<CommandResult> {
    const [member] = this.members;
    if (member === undefined) throw new WeftError('lab-store', 'the store has no members');
    const tls = this.certificates;
    const names = api === 2 ? ['--ca-file', '--cert-file', '--key-file'] : ['--cacert', '--cert', '--key'];
    const options =
      tls === undefined ? [] : [tls.ca, tls.cert, tls.key].map((path, n) => `${names[n]}=${path}`);
    const argv = [
      'env',
      `ETCDCTL_API=${api}`,
      'etcdctl',
      `--endpoints=${this.endpoints.join(',')}`,
      ...(api === 2 ? PATIENCE.v2 : PATIENCE.v3),
      ...options,
      ...args,
    ];
    return member.host.run(argv, stdin === undefined ? {} : { stdin });
  }

  /** As {@link run}: the standard output; throws `lab-command` when it fails. */
  async must(api: 2 | 3, args: readonly string[], stdin?: string): Promise<string> {
    return outputOf(['etcdctl', ...args], await this.run(api, args, stdin));
  }
}

export interface StoreMemberOptions {
  /** The name it runs under. */
  readonly program: string;
  readonly argv: readonly string[];
  readonly endpoint: string;
  /** The folder of its data, as its host sees it. */
  readonly data: string;
}

/** One server. Stopped or killed, it starts again with its data unless that is wiped. */
export class StoreMember {
  readonly host: Host;
  readonly endpoint: string;
  readonly #options: StoreMemberOptions;

  constructor(host: Host, options: StoreMemberOptions) {
    this.host = host;
    this.endpoint = options.endpoint;
    this.#options = options;
  }

  async start(): Promise<Daemon> {
    return this.host.start(this.#options.program, this.#options.argv);
  }

  /** Waits until it listens. Throws when it ends before. A client that comes too early waits a second before it tries again. */
  async listening(timeoutMs: number): Promise<void> {
    const { program } = this.#options;
    const { name, signal } = this.host;
    const daemon = await this.#daemon();
    const argv = ['ss', '-Hltn', 'sport', '=', `:${new URL(this.endpoint).port}`];
    const listens = async (): Promise<boolean> => {
      if (daemon.isAlive()) return (await this.host.must(argv)) !== '';
      const last = (await daemon.log()).trim().split('\n').at(-1);
      throw new WeftError('lab-store', `${program} ended on ${name}: ${last}`);
    };
    await until(listens, { what: `listening ${program} on ${name}`, timeoutMs, signal });
  }

  async stop(): Promise<void> {
    await (await this.#daemon()).stop();
  }

  async kill(): Promise<void> {
    const daemon = await this.#daemon();
    daemon.kill('SIGKILL');
    await daemon.exited();
  }

  /** Freezes it: it keeps its connections and answers nothing. */
  async freeze(): Promise<void> {
    (await this.#daemon()).kill('SIGSTOP');
  }

  async thaw(): Promise<void> {
    (await this.#daemon()).kill('SIGCONT');
  }

  /** Removes its data; it must not run. */
  async wipe(): Promise<void> {
    await this.host.components.folders.remove(this.host.path(this.#options.data));
  }

  async #daemon(): Promise<Daemon> {
    const { program } = this.#options;
    const daemon = await this.host.daemon(program);
    if (daemon === undefined)
      throw new WeftError('lab-store', `${program} was never started on ${this.host.name}`);
    return daemon;
  }
}
