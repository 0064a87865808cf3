import { DockerCalls, parsed, refused } from '#src/docker/docker-calls.ts';
import { Container, recordContainer } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { HttpCall, HttpText } from '#src/sys/unix-http.ts';
import { until } from '#src/sys/until.ts';

/** Made without a registry: busybox under all its names, and a CGI script that reports a caller's address. */
export const IMAGE = 'weft-lab';

/** A script of sh that makes {@link IMAGE}. $1: a folder of the host's own. The script's header ends with an empty line, as CGI wants it. */
export const BUILD_IMAGE = `
set -e
mkdir -p "$1/bin" "$1/www/cgi-bin"
cp "$(command -v busybox)" "$1/bin/busybox"
"$1/bin/busybox" --install "$1/bin"
printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\n\\\\n$REMOTE_ADDR\\\\n"\\n' > "$1/www/cgi-bin/caller"
chmod +x "$1/www/cgi-bin/caller"
tar -c -C "$1" . | docker import - ${IMAGE}`;

export interface DockerOptions {
  /** Of dockerd's command line: `--bip=…`. */
  readonly options: readonly string[];
  /** Where its containers' control groups go. */
  readonly cgroup: string;
  /** A folder with the dockerd, docker-proxy and runc to use; the first in PATH without it. */
  readonly programs?: string | undefined;
  /** What the host's daemon.json holds; the machine's own is left out. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Docker's name for the network of docker0, which is the host's subnet of the overlay. */
const DEFAULT_NETWORK = 'bridge';
const CONFIG_FILE = '/run/docker-daemon.json';
/** Alone it takes two seconds. */
const START_MS = 60_000;
/** Of a call: a dead plugin is waited for 15 s each time, and a container that starts has a lock. */
const CALL_MS = 120_000;
/**
 * dockerd and what it starts collect less often: it executes itself several times for each container, and half of what a start
 * takes is a first collection. A quarter of the processor time, for some 50 MB.
 */
const ENVIRONMENT = { GOGC: '400' };

/** dockerd on one host, at its ordinary paths: the host's /run and /var/lib are its own. */
export class Docker {
  readonly host: Host;
  #options: DockerOptions;
  #daemon: Daemon;
  readonly #calls: DockerCalls;
  readonly #signal: AbortSignal;

  private constructor(host: Host, options: DockerOptions, daemon: Daemon) {
    this.host = host;
    this.#calls = new DockerCalls(host.components, { socket: host.path('/run/docker.sock') });
    this.#signal = host.signal ?? new AbortController().signal;
    this.#options = options;
    this.#daemon = daemon;
  }

  /** Starts dockerd and waits until it answers. */
  static async start(host: Host, options: DockerOptions): Promise<Docker> {
    return new Docker(host, options, await startDockerd(host, options));
  }

  get daemon(): Daemon {
    return this.#daemon;
  }

  /** Its command line's options. */
  get options(): readonly string[] {
    return this.#options.options;
  }

  /**
   * Stops dockerd and starts it again, with these options in place of its own. Its containers go on with `live-restore`,
   * and end without it.
   */
  async restart(options: Partial<DockerOptions> = {}): Promise<void> {
    await this.#daemon.stop(START_MS);
    await this.startAgain(options);
  }

  /** SIGKILL; its containers go on. Resolves when its containerd has gone with it, for dockerd takes a zombie for alive. */
  async kill(): Promise<void> {
    const containerd = (await this.host.read('/run/docker/containerd/containerd.pid'))?.trim();
    this.#daemon.kill('SIGKILL');
    await this.#daemon.exited();
    if (containerd === undefined) return;
    await until(
      async () => (await this.host.components.files.read(`/proc/${containerd}/stat`)) === undefined,
      {
        what: `end of containerd on ${this.host.name}`,
        timeoutMs: START_MS,
        signal: this.host.signal,
      },
    );
  }

  /** Starts dockerd again after its end, with these options in place of its own. */
  async startAgain(options: Partial<DockerOptions> = {}): Promise<void> {
    this.#options = { ...this.#options, ...options };
    // One that was killed left its number there, and dockerd does not start while another process has it.
    await this.host.must(['rm', '-f', '/run/docker.pid']);
    this.#daemon = await startDockerd(this.host, this.#options);
  }

  /** `docker ARGUMENTS` on this host; its standard output. */
  async must(args: readonly string[]): Promise<string> {
    return this.host.must(['docker', ...args], { timeoutMs: START_MS });
  }

  /** A call of its API and the answer, of any status: to start Docker's client costs more than most answers. */
  call(call: HttpCall, timeoutMs = CALL_MS): Promise<HttpText> {
    return this.#calls.call(nameOf(call, this.host), call, this.#signal, timeoutMs);
  }

  /** What its API has at a path, `/containers/NAME/json`; `undefined` for what is not there. */
  async look(path: string): Promise<unknown> {
    const call = { method: 'GET', path } as const;
    const answer = await this.call(call);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refused(nameOf(call, this.host), answer);
    return parsed(nameOf(call, this.host), answer.body);
  }

  /** As `docker rm -f NAMES`, which has nothing against one that is not there. */
  async remove(...names: readonly string[]): Promise<void> {
    await Promise.all(
      names.map(async (name) => {
        const call = { method: 'DELETE', path: `/containers/${name}?force=true` } as const;
        const answer = await this.call(call);
        if (answer.status !== 204 && answer.status !== 404) throw refused(nameOf(call, this.host), answer);
      }),
    );
  }

  /** Makes {@link IMAGE} on this host. */
  async buildImage(): Promise<void> {
    await this.host.must(['sh', '-c', BUILD_IMAGE, 'sh', '/var/lib/weft-lab-image'], { timeoutMs: 60_000 });
  }

  /** `docker run -d OPTIONS` of {@link IMAGE}; resolves when it has its address. */
  async run(
    name: string,
    command: readonly string[] = ['sleep', '100000'],
    options: readonly string[] = [],
  ): Promise<Container> {
    // A first process without a handler for SIGTERM would be waited for ten seconds.
    const always = ['--detach', '--name', name, '--stop-signal', 'SIGKILL'];
    await this.must(['run', ...always, ...options, IMAGE, ...command]);
    const what = `address of container ${name}`;
    const container = await until(() => this.container(name), { what, signal: this.host.signal });
    await recordContainer(container);
    return container;
  }

  /** A container that runs; `undefined` when it doesn't. */
  async container(name: string): Promise<Container | undefined> {
    const found = (await this.look(`/containers/${name}/json`)) as InspectedContainer | undefined;
    if (found === undefined)
      throw new WeftError('no-such-container', `no container ${name} on ${this.host.name}`);
    const pid = found.State.Pid;
    // Engine 29 has addresses only below Networks.
    const [[network = '', { IPAddress: address = '' } = {}] = []] = Object.entries(
      found.NetworkSettings.Networks,
    );
    if (pid === 0 || address === '') return undefined;
    const options = { name, address, namespacePath: `/proc/${pid}/ns/net` };
    return new Container(this.host, network === DEFAULT_NETWORK ? options : { ...options, network });
  }

  /** Runs a command of the image in a container. */
  exec(name: string, command: readonly string[]): Promise<string> {
    return this.must(['exec', name, ...command]);
  }
}

const nameOf = ({ method, path }: HttpCall, host: Host): string => `${method} ${path} on ${host.name}`;

interface InspectedContainer {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress?: string }>> };
}

async function startDockerd(
  host: Host,
  { options, cgroup, programs, config }: DockerOptions,
): Promise<Daemon> {
  await host.write(CONFIG_FILE, `${JSON.stringify(config ?? {})}\n`);
  const before = (await (await host.daemon('dockerd'))?.log())?.length;
  const daemon = await host.start(
    'dockerd',
    [
      ...firstInPath(programs),
      'dockerd',
      ...options,
      `--config-file=${CONFIG_FILE}`,
      '--exec-opt=native.cgroupdriver=cgroupfs',
      `--cgroup-parent=/${cgroup}`,
    ],
    { env: ENVIRONMENT },
  );
  await daemon.waitForLog(/API listen on/, START_MS, before);
  return daemon;
}

/** The command before a command that looks into this folder first, and so do the programs it starts. */
export const firstInPath = (folder: string | undefined): string[] =>
  folder === undefined ? [] : ['sh', '-c', 'PATH="$0:$PATH" exec "$@"', folder];
