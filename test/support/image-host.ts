import type { Docker } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import type { CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import type { BuiltImage } from './image.ts';

/** With which docs/guides/image.md has docker run the image. */
export const CAGE = [
  ...['--network', 'host', '--read-only', '--security-opt', 'no-new-privileges'],
  ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW'],
  ...['-v', '/run/flannel:/run/flannel', '-v', '/var/lib/weft:/var/lib/weft'],
] as const;

/** What it says of the fast path. */
export const FAST_CAGE = ['--cap-add', 'BPF', '--cap-add', 'PERFMON'] as const;

/** An image is unpacked on a machine that does much else. */
const LONG_MS = 120_000;

/** A host with Docker and nothing else, whose flanneld is a container of that Docker. */
export class ImageHost {
  readonly host: Host;
  readonly docker: Docker;
  readonly #flags: readonly string[];

  constructor(docker: Docker, flags: readonly string[]) {
    this.host = docker.host;
    this.docker = docker;
    this.#flags = flags;
  }

  /** `docker ARGUMENTS`; its standard output. */
  must(args: readonly string[]): Promise<string> {
    return this.host.must(['docker', ...args], { timeoutMs: LONG_MS });
  }

  load({ archive }: BuiltImage): Promise<string> {
    return this.must(['load', '--input', archive]);
  }

  /** Starts flanneld and waits until it is ready. */
  async run(
    { name }: BuiltImage,
    {
      rights = [],
      flags = [],
    }: { readonly rights?: readonly string[]; readonly flags?: readonly string[] } = {},
  ): Promise<void> {
    await this.must([
      'run',
      '-d',
      '--name',
      'weft',
      '--restart',
      'unless-stopped',
      ...CAGE,
      ...rights,
      name,
      ...this.#flags,
      ...flags,
    ]);
    await this.ready();
  }

  async ready(): Promise<void> {
    const what = `weft in a container on ${this.host.name}`;
    const { signal } = this.host;
    try {
      await until(async () => (await this.weft(['status'])).code === 0, { what, timeoutMs: LONG_MS, signal });
    } catch (error) {
      const { stdout, stderr } = await this.host.run(['docker', 'logs', 'weft']);
      throw new Error(`${(error as Error).message}:\n${stdout}${stderr}`);
    }
  }

  /** Waits until `weft status` says so. */
  async untilStatus(wanted: RegExp): Promise<void> {
    await until(async () => wanted.test((await this.weft(['status'])).stdout), {
      what: `status with ${wanted} on ${this.host.name}`,
      timeoutMs: LONG_MS,
      signal: this.host.signal,
    });
  }

  /** `weft WORDS` in flanneld's container. */
  weft(words: readonly string[]): Promise<CommandResult> {
    return this.host.run(['docker', 'exec', 'weft', 'weft', ...words], { timeoutMs: LONG_MS });
  }

  /** `PROGRAM WORDS` in a container that goes with it. */
  once({ name }: BuiltImage, program: string, words: readonly string[]): Promise<string> {
    return this.must(['run', '--rm', ...CAGE, '--entrypoint', program, name, ...words]);
  }

  /** What the kernel says of the first process of a container: `CapEff`, `Seccomp`. */
  async processOf(container: string): Promise<Map<string, string>> {
    const pid = (await this.must(['inspect', '--format', '{{.State.Pid}}', container])).trim();
    const status = await this.host.must(['cat', `/proc/${pid}/status`]);
    return new Map(status.split('\n').map((line) => line.split(/:\s+/, 2) as [string, string]));
  }

  /** As the guide moves Docker to the subnet; `more` is what daemon.json has beside that. */
  async moveDocker(more: Readonly<Record<string, unknown>>): Promise<void> {
    await this.docker.restart({ config: { ...more, ...(await daemonJson(this.host)) } });
  }
}

/** What the guide's lines write into daemon.json. */
async function daemonJson(host: Host): Promise<Record<string, unknown>> {
  const script =
    '. /run/flannel/subnet.env; printf \'{"bip": "%s", "mtu": %s, "ip-masq": false}\' "$FLANNEL_SUBNET" "$FLANNEL_MTU"';
  return JSON.parse(await host.must(['sh', '-c', script])) as Record<string, unknown>;
}
