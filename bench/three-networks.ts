import { request } from 'node:http';
import type { Container } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import { Docker, IMAGE } from '#src/lab/docker.ts';
import type { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { until } from '#src/sys/until.ts';
import type { Program } from './program.ts';
import { WIRE, WIRE_ADDRESSES, Wire } from './wire.ts';

/** Ours first: the other two are what it is compared with. */
export const NETWORKS = ['tenant', 'swarm overlay', 'flannel network'] as const;
export type NetworkName = (typeof NETWORKS)[number];

export const PREFIX = '/bench/tenants';
export const TENANT = 'bench';
const START_MS = 60_000;
/** For a command of Docker's while hundreds of others run. */
const DOCKER_MS = 900_000;
const SWARM_PORT = 2377;

/** The words of `docker run` that put a container into a network. */
const WORDS: Readonly<Record<NetworkName, readonly string[]>> = {
  tenant: ['--network', TENANT],
  'swarm overlay': ['--network', 'overlay'],
  'flannel network': [],
};

/** The way from the start of a container to an answer from it, in milliseconds. */
export interface FirstAnswer {
  /** Until `docker run` was back. */
  readonly run: number;
  /** Until another host's container had its answer. */
  readonly answered: number;
}

/**
 * Two hosts, and on each one dockerd with containers in three networks: a tenant of weft's, an overlay of swarm's and docker0
 * on weft's flannel network.
 *
 *     h1 192.0.2.1 ── wire0 ── 192.0.2.2 h2      etcd on another cable
 *
 * VXLAN's ports: 8473 tenants, 4789 swarm, 8472 flannel.
 */
export class ThreeNetworks {
  readonly wire: Wire;
  readonly dockers: readonly [Docker, Docker];
  readonly daemons: readonly [Daemon, Daemon];

  private constructor(wire: Wire, dockers: readonly [Docker, Docker], daemons: readonly [Daemon, Daemon]) {
    this.wire = wire;
    this.dockers = dockers;
    this.daemons = daemons;
  }

  /** Starts both hosts, with no tenant yet. */
  static async create(lab: Lab, etcd: Etcd, { path, flags = [] }: Program): Promise<ThreeNetworks> {
    const wire = await Wire.connect([await lab.addHost('h1', 1), await lab.addHost('h2', 2)]);
    await etcd.put(
      `${PREFIX}/config`,
      JSON.stringify({ Network: '10.244.0.0/16', Backend: { Type: 'vxlan' } }),
    );
    const start = async (host: Host): Promise<[Docker, Daemon]> => {
      const daemon = await host.start('flanneld', [
        path,
        `--etcd-endpoints=${etcd.endpoints.join()}`,
        `--etcd-prefix=${PREFIX}`,
        '--ip-masq=true',
        `--iface=${WIRE}`,
        '--docker-driver=on',
        ...flags,
      ]);
      await daemon.waitForLog(/Running backend/, START_MS);
      const docker = await Docker.start(host, { options: await bridgeOptions(host), cgroup: lab.cgroup });
      await docker.buildImage();
      return [docker, daemon];
    };
    const [one, two] = wire.hosts;
    const [first, second] = [await start(one), await start(two)];
    return new ThreeNetworks(wire, [first[0], second[0]], [first[1], second[1]]);
  }

  /** Makes the tenant and waits until both hosts have it. */
  async createTenant(subnet: string): Promise<void> {
    const [one] = this.dockers;
    const words = ['-d', 'weft', '-o', `weft.network=${TENANT}`, '--ipam-driver', 'weft'];
    const more = ['--ipam-opt', `weft.network=${TENANT}`, '--subnet', subnet, TENANT];
    await one.must(['network', 'create', ...words, ...more]);
    for (const { host } of this.dockers) {
      await until(async () => (await host.run(['docker', 'network', 'inspect', TENANT])).code === 0, {
        what: `tenant on ${host.name}`,
        timeoutMs: START_MS,
        signal: host.signal,
      });
    }
  }

  /** Joins both hosts to a swarm and makes its overlay. */
  async createOverlay(subnet: string): Promise<void> {
    const [one, two] = this.dockers;
    const [left, right] = WIRE_ADDRESSES;
    await one.must(['swarm', 'init', '--advertise-addr', left]);
    const token = (await one.must(['swarm', 'join-token', '--quiet', 'worker'])).trim();
    const manager = `${left}:${SWARM_PORT}`;
    await two.must(['swarm', 'join', '--token', token, '--advertise-addr', right, manager]);
    await one.must(['network', 'create', '-d', 'overlay', '--attachable', '--subnet', subnet, 'overlay']);
  }

  /** A container for good on a host. */
  run(docker: Docker, network: NetworkName, name: string): Promise<Container> {
    return docker.run(name, undefined, WORDS[network]);
  }

  /** Starts a new container on the first host, asks for it from one on the second, and removes it. */
  async firstAnswer(from: Container, network: NetworkName, name: string): Promise<FirstAnswer> {
    const [docker] = this.dockers;
    const { host } = docker;
    const words = ['--detach', '--name', name, ...WORDS[network], IMAGE, 'sleep', '100000'];
    const began = performance.now();
    await host.must(['docker', 'run', ...words]);
    const ran = performance.now();
    const address = await addressOf(host, name);
    // With a deadline, it goes on until it has its one answer.
    await from.must(['ping', '-n', '-q', '-c1', '-i', '0.002', '-w', '30', address]);
    const answered = performance.now();
    await host.must(['docker', 'rm', '--force', name]);
    return { run: ran - began, answered: answered - began };
  }

  /** Seconds that `count` times `docker run` takes, half of them on each host and all of them at once. */
  async runAtOnce(network: NetworkName, count: number): Promise<number> {
    const run = ['docker', 'run', '--detach', '--name', '"c$n"', ...WORDS[network], IMAGE, 'sleep', '100000'];
    const script = `for n in $(seq ${count / 2}); do ${run.join(' ')} > /dev/null || echo "failed: $n" & done; wait`;
    const began = performance.now();
    const outputs = await Promise.all(this.#eachHost(['sh', '-c', script]));
    const seconds = (performance.now() - began) / 1_000;
    const failed = outputs.join('').trim();
    if (failed !== '') throw new Error(`docker run in the ${network}: ${failed}`);
    return seconds;
  }

  /** Seconds that it takes to remove them again. */
  async removeAtOnce(count: number): Promise<number> {
    const names = Array.from({ length: count / 2 }, (_, n) => `c${n + 1}`);
    const began = performance.now();
    await Promise.all(this.#eachHost(['docker', 'rm', '--force', ...names]));
    return (performance.now() - began) / 1_000;
  }

  #eachHost(argv: readonly string[]): Promise<string>[] {
    return this.wire.hosts.map((host) => host.must(argv, { timeoutMs: DOCKER_MS }));
  }
}

/** As mk-docker-opts makes them of subnet.env. */
async function bridgeOptions(host: Host): Promise<string[]> {
  const text = (await host.read('/run/flannel/subnet.env')) ?? '';
  const value = (name: string): string => new RegExp(`^${name}=(.+)$`, 'm').exec(text)?.[1] ?? '';
  return [`--bip=${value('FLANNEL_SUBNET')}`, `--mtu=${value('FLANNEL_MTU')}`, '--ip-masq=false'];
}

/** From the engine itself: a `docker inspect` would take longer than most of what is measured here. */
function addressOf(host: Host, container: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = { socketPath: host.path('/run/docker.sock'), path: `/containers/${container}/json` };
  const sent = request(options, async (response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const { NetworkSettings: settings } = JSON.parse(Buffer.concat(chunks).toString()) as {
      NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
    };
    const address = Object.values(settings.Networks)[0]?.IPAddress;
    if (address) resolve(address);
    else reject(new Error(`container ${container} has no address`));
  });
  sent.once('error', reject);
  sent.end();
  return promise;
}
