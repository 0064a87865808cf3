import { Container, recordContainer } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/lib/until.ts';

/** Made without a registry: busybox under all its names, and a CGI script that tells a caller's address. */
export const IMAGE = 'weft-lab';

/** $1: a folder of the host's own. The script's header ends with an empty line, as CGI wants it. */
const BUILD_IMAGE = `
set -e
mkdir -p "$1/bin" "$1/www/cgi-bin"
cp "$(command -v busybox)" "$1/bin/busybox"
for name in $("$1/bin/busybox" --list); do [ -e "$1/bin/$name" ] || ln -s busybox "$1/bin/$name"; done
printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\n\\\\n$REMOTE_ADDR\\\\n"\\n' > "$1/www/cgi-bin/caller"
chmod +x "$1/www/cgi-bin/caller"
tar -c -C "$1" . | docker import - ${IMAGE}`;

/** dockerd on one host, at its ordinary paths: the host's /run and /var/lib are its own. */
export class Docker {
  readonly host: Host;
  readonly daemon: Daemon;

  private constructor(host: Host, daemon: Daemon) {
    this.host = host;
    this.daemon = daemon;
  }

  /**
   * Starts dockerd with the given options (`--bip=…`) and waits until it answers. `cgroup` is where its containers'
   * control groups go. The machine's own /etc/docker/daemon.json is left out.
   */
  static async start(
    host: Host,
    { options, cgroup }: { options: readonly string[]; cgroup: string },
  ): Promise<Docker> {
    await host.write('/run/docker-daemon.json', '{}\n');
    const daemon = await host.start('dockerd', [
      'dockerd',
      ...options,
      '--config-file=/run/docker-daemon.json',
      '--exec-opt=native.cgroupdriver=cgroupfs',
      `--cgroup-parent=/${cgroup}`,
    ]);
    await daemon.waitForLog(/API listen on/, 30_000);
    return new Docker(host, daemon);
  }

  /** `docker ARGUMENTS` on this host; its standard output. */
  async must(args: readonly string[]): Promise<string> {
    return this.host.must(['docker', ...args], { timeoutMs: 30_000 });
  }

  /** Makes {@link IMAGE} on this host. */
  async buildImage(): Promise<void> {
    await this.host.must(['sh', '-c', BUILD_IMAGE, 'sh', '/var/lib/weft-lab-image'], { timeoutMs: 60_000 });
  }

  /** `docker run -d` of {@link IMAGE}; resolves when it has its address. */
  async run(name: string, command: readonly string[] = ['sleep', '100000']): Promise<Container> {
    await this.must(['run', '--detach', '--name', name, IMAGE, ...command]);
    const what = `address of container ${name}`;
    const container = await until(() => this.container(name), { what, signal: this.host.signal });
    await recordContainer(container);
    return container;
  }

  /** A container that runs; `undefined` when it doesn't. */
  async container(name: string): Promise<Container | undefined> {
    const format = '{{.State.Pid}} {{.NetworkSettings.IPAddress}}';
    const [pid, address] = (await this.must(['inspect', '--format', format, name])).trim().split(' ');
    if (pid === undefined || pid === '0' || address === undefined || address === '') return undefined;
    return new Container(this.host, { name, address, namespacePath: `/proc/${pid}/ns/net` });
  }

  /** Runs a command of the image in a container. */
  exec(name: string, command: readonly string[]): Promise<string> {
    return this.must(['exec', name, ...command]);
  }
}
