import { connect } from 'node:net';
import type { Container } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import { Docker, type DockerOptions } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import { untilListening } from '#src/lab/traffic.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { WEB } from './docker-network.ts';
import { FLANNELD, WEFT } from './flanneld.ts';

const SOCKET = '/run/docker/plugins/weft.sock';
/** Of a command: an image is imported, a dead plugin is waited for 15 s a call, a container moves. */
const DOCKER_MS = 120_000;
const START_MS = 60_000;

/** What `docker inspect` shows of a container in one of its networks. */
export interface Attachment {
  readonly IPAddress: string;
  readonly GlobalIPv6Address: string;
  readonly MacAddress: string;
  readonly EndpointID: string;
  readonly NetworkID: string;
}

/** What `docker network inspect` shows. */
export interface InspectedNetwork {
  readonly Id: string;
  readonly Options: Readonly<Record<string, string>>;
  readonly Containers: Readonly<
    Record<string, { EndpointID: string; MacAddress: string; IPv4Address: string; IPv6Address: string }>
  >;
}

/** Commands that speak to the registry only. */
const REGISTRY_COMMANDS = new Set(['network', 'address']);

/** A host of a lab with dockerd and a flanneld that serves Docker's driver and no flannel network. */
export class TenantHost {
  readonly host: Host;
  /** Those of flanneld. */
  readonly flags: readonly string[];
  readonly docker: Docker;

  private constructor(host: Host, flags: readonly string[], docker: Docker) {
    this.host = host;
    this.flags = flags;
    this.docker = docker;
  }

  /** Starts flanneld, then dockerd, and makes the image. */
  static async start(host: Host, flags: readonly string[], options: DockerOptions): Promise<TenantHost> {
    await startDriver(host, flags);
    const docker = await Docker.start(host, options);
    await docker.buildImage();
    return new TenantHost(host, flags, docker);
  }

  get name(): string {
    return this.host.name;
  }

  /** On the underlay: the VTEP. */
  get address(): string {
    return this.host.address;
  }

  /** `docker ARGUMENTS`; a failure is a result. */
  attempt(args: readonly string[], timeoutMs = DOCKER_MS): Promise<CommandResult> {
    return this.host.run(['docker', ...args], { timeoutMs });
  }

  /** `docker ARGUMENTS`; its standard output. */
  must(args: readonly string[]): Promise<string> {
    return this.host.must(['docker', ...args], { timeoutMs: DOCKER_MS });
  }

  /** The text with which `docker ARGUMENTS` fails; throws when it succeeds. */
  async refused(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(args);
    if (code !== 0) return stderr.trim();
    throw new Error(`docker ${args.join(' ')} succeeded on ${this.name}: ${stdout.trim()}`);
  }

  /** `docker run -d --network NETWORK OPTIONS` of the lab's image. A server among the commands listens then. */
  async run(
    name: string,
    network: string,
    options: readonly string[] = [],
    command?: readonly string[],
  ): Promise<Container> {
    const container = await this.docker.run(name, command, ['--network', network, ...options]);
    if (command === WEB) await untilListening(container);
    return container;
  }

  /** Waits until a container's server takes calls: it runs before. */
  async untilServing(name: string): Promise<void> {
    const what = `container ${name} on ${this.name}`;
    await untilListening(await until(() => this.docker.container(name), { what }));
  }

  /** As `docker rm -f NAMES`. */
  remove(...names: string[]): Promise<void> {
    return this.docker.remove(...names);
  }

  /** Whether a container runs; false when there is none. */
  async isRunning(container: string): Promise<boolean> {
    const found = await this.docker.look(`/containers/${container}/json`);
    return (found as { State: { Running: boolean } } | undefined)?.State.Running === true;
  }

  /** What `docker network inspect` shows; `undefined` when there is none. */
  network(name: string): Promise<InspectedNetwork | undefined> {
    return this.docker.look(`/networks/${name}`) as Promise<InspectedNetwork | undefined>;
  }

  /** A container's place in a network; `undefined` when it is not there, or has no address there. */
  async attachment(container: string, network: string): Promise<Attachment | undefined> {
    const record = (await this.docker.look(`/containers/${container}/json`)) as
      | { NetworkSettings: { Networks: Record<string, Attachment> } }
      | undefined;
    const found = record?.NetworkSettings.Networks[network];
    return found === undefined || found.IPAddress === '' ? undefined : found;
  }

  /** `weft WORDS` with those of flanneld's flags that the command has. */
  weft(words: readonly string[]): Promise<CommandResult> {
    const flags = REGISTRY_COMMANDS.has(words[0] ?? '')
      ? this.flags.filter((flag) => flag.startsWith('--etcd-'))
      : this.flags;
    return this.host.run([WEFT, ...words, ...flags], { timeoutMs: DOCKER_MS });
  }

  async mustWeft(words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.weft(words);
    if (code === 0) return stdout;
    throw new Error(`weft ${words.join(' ')} on ${this.name}: ${stderr.trim()}`);
  }

  /** Resolves when the driver takes calls. */
  async startFlanneld(): Promise<void> {
    await startDriver(this.host, this.flags);
  }

  /** SIGTERM. */
  async stopFlanneld(): Promise<void> {
    await (await this.#flanneld()).stop();
  }

  /** SIGKILL. */
  async killFlanneld(): Promise<void> {
    const daemon = await this.#flanneld();
    daemon.kill('SIGKILL');
    await daemon.exited();
  }

  async flanneldLog(): Promise<string> {
    return (await this.#flanneld()).log();
  }

  /** Names of the devices in the namespace of the tenants' bridges, without `lo`; none when there is no such namespace. */
  async tenantDevices(): Promise<string[]> {
    const { code, stdout } = await this.host.run(['ip', '-n', 'weft', '-j', 'link']);
    if (code !== 0) return [];
    const links = JSON.parse(stdout) as { ifname: string }[];
    return links.map(({ ifname }) => ifname).filter((name) => name !== 'lo');
  }

  /** To which hosts frames for a MAC are sent, by the entries of the tunnels. */
  async vtepsFor(mac: string): Promise<string[]> {
    const lines = (await this.inTenants(['bridge', 'fdb', 'show'])).split('\n');
    return lines
      .filter((line) => line.startsWith(mac))
      .map((line) => /dst (\S+)/.exec(line)?.[1])
      .filter((vtep) => vtep !== undefined);
  }

  /** Waits until frames for a MAC are sent to a host: it hears a moment later that a container is elsewhere. */
  async sendsTo(mac: string, vtep: string): Promise<void> {
    const isTheWay = async () => (await this.vtepsFor(mac)).join() === vtep;
    const what = `way from ${this.name} to ${mac} at ${vtep}`;
    await until(isTheWay, { what, timeoutMs: 60_000, signal: this.host.signal });
  }

  /** `ip -n weft WORDS` or `bridge -n weft WORDS`; what it printed. */
  inTenants(argv: readonly [string, ...string[]]): Promise<string> {
    return this.host.must(['ip', 'netns', 'exec', 'weft', ...argv]);
  }

  async #flanneld() {
    const daemon = await this.host.daemon('flanneld');
    if (daemon === undefined) throw new WeftError('lab-flanneld', `no flanneld on ${this.name}`);
    return daemon;
  }
}

/** Starts flanneld and waits until its driver takes calls. */
export async function startDriver(host: Host, flags: readonly string[]): Promise<Daemon> {
  const daemon = await host.start('flanneld', [FLANNELD, ...flags]);
  await until(
    async () => {
      if (await takesCalls(host.path(SOCKET))) return true;
      if (!daemon.isAlive()) throw new Error(`flanneld on ${host.name} ended:\n${await daemon.log()}`);
      return false;
    },
    { what: `driver on ${host.name}`, timeoutMs: START_MS, signal: host.signal },
  );
  return daemon;
}

/** A file that was left behind takes none. */
function takesCalls(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
