import { Container, recordContainer } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';

/** Made without a registry: busybox under all its names, and a CGI script that reports a caller's address. */
export const IMAGE = 'weft-lab';

/** A script of sh that makes {@link IMAGE}. $1: a folder of the host's own. The script's header ends with an empty line, as CGI wants it. */
export const BUILD_IMAGE = `
set -e
mkdir -p "$1/bin" "$1/www/cgi-bin"
cp "$(command -v busybox)" "$1/bin/busybox"
for name in $("$1/bin/busybox" --list); do [ -e "$1/bin/$name" ] || ln -s busybox "$1/bin/$name"; done
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
const START_MS = 30_000;

/** dockerd on one host, at its ordinary paths: the host's /run and /var/lib are its own. */
export class Docker {
  readonly host: Host;
  #options: DockerOptions;
  #daemon: Daemon;

  private constructor(host: Host, options: DockerOptions, daemon: Daemon) {
    this.host = host;
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
    return this.host.must(['docker', ...args], { timeoutMs: 30_000 });
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
    // Engine 29 has addresses only below Networks.
    const networks = '{{range $name, $it := .NetworkSettings.Networks}} {{$it.IPAddress}} {{$name}}{{end}}';
    const said = await this.must(['inspect', '--format', `{{.State.Pid}}${networks}`, name]);
    const [pid, address, network] = said.trim().split(' ');
    if (pid === undefined || pid === '0' || address === undefined || address === '') return undefined;
    const options = { name, address, namespacePath: `/proc/${pid}/ns/net` };
    return new Container(this.host, network === DEFAULT_NETWORK ? options : { ...options, network });
  }

  /** Runs a command of the image in a container. */
  exec(name: string, command: readonly string[]): Promise<string> {
    return this.must(['exec', name, ...command]);
  }
}

async function startDockerd(
  host: Host,
  { options, cgroup, programs, config }: DockerOptions,
): Promise<Daemon> {
  await host.write(CONFIG_FILE, `${JSON.stringify(config ?? {})}\n`);
  const before = (await (await host.daemon('dockerd'))?.log())?.length;
  const daemon = await host.start('dockerd', [
    ...firstInPath(programs),
    'dockerd',
    ...options,
    `--config-file=${CONFIG_FILE}`,
    '--exec-opt=native.cgroupdriver=cgroupfs',
    `--cgroup-parent=/${cgroup}`,
  ]);
  await daemon.waitForLog(/API listen on/, START_MS, before);
  return daemon;
}

/** The command before a command that looks into this folder first, and so do the programs it starts. */
export const firstInPath = (folder: string | undefined): string[] =>
  folder === undefined ? [] : ['sh', '-c', 'PATH="$0:$PATH" exec "$@"', folder];
