import { join } from 'node:path';
import { outputOf } from '#src/lab/components.ts';
import type { Host } from '#src/lab/host.ts';
import { Machine } from '#src/lab/machine.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIpv4, ipv4, parsePrefix4 } from '#src/lib/ip.ts';
import { macOf } from '#src/tenant/mac-of.ts';

export interface ContainerOptions {
  readonly name: string;
  /** A file that stands for its network namespace. */
  readonly namespacePath: string;
  /** On the overlay, or in its Docker network; dotted. */
  readonly address: string;
  /** Docker's name of the network, unless that is docker0 with the host's subnet of the overlay. */
  readonly network?: string | undefined;
}

/** The network of a container, made by Docker or by the lab. Programs that run in it are this machine's, not the image's. */
export class Container extends Machine {
  readonly host: Host;
  readonly address: string;
  readonly network: string | undefined;
  readonly namespacePath: string;

  constructor(host: Host, options: ContainerOptions) {
    super(host.components, {
      name: `${host.name}/${options.name}`,
      folder: join(host.folder, 'containers', options.name),
      signal: host.signal,
    });
    this.host = host;
    this.address = options.address;
    this.network = options.network;
    this.namespacePath = options.namespacePath;
  }

  override enter(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=${this.namespacePath}`, '--', ...argv];
  }

  override enterNetwork(argv: readonly string[]): [string, ...string[]] {
    return this.enter(argv);
  }

  override get shared(): { inside: string; outside: string } {
    return { inside: this.folder, outside: this.folder };
  }
}

/** Records the container for another process of the lab. */
export async function recordContainer(container: Container): Promise<void> {
  const { name, address, network, namespacePath } = container;
  const record: ContainerOptions = {
    name: name.slice(container.host.name.length + 1),
    address,
    network,
    namespacePath,
  };
  await container.components.files.writeAtomically(
    join(container.folder, 'container.json'),
    JSON.stringify(record),
  );
}

/** The containers that were made on a host, by any process. */
export async function containersOf(host: Host): Promise<Container[]> {
  const folder = join(host.folder, 'containers');
  const containers: Container[] = [];
  for (const name of await host.components.folders.list(folder)) {
    const text = await host.components.files.read(join(folder, name, 'container.json'));
    if (text !== undefined) containers.push(new Container(host, JSON.parse(text) as ContainerOptions));
  }
  return containers;
}

/** What dockerd's `--bip` and `--mtu` say. */
export interface BridgeOptions {
  /** The bridge's own address with the subnet's length: `10.0.65.1/24`. */
  readonly bip: string;
  readonly mtu: number;
}

/** Reads subnet.env; throws `lab-subnet-env` when it lacks what a bridge needs. */
export function bridgeOptionsOf(subnetEnv: string): BridgeOptions {
  const bip = /^FLANNEL_SUBNET=(.+)$/m.exec(subnetEnv)?.[1];
  const mtu = /^FLANNEL_MTU=(\d+)$/m.exec(subnetEnv)?.[1];
  if (bip === undefined || mtu === undefined) {
    throw new WeftError(
      'lab-subnet-env',
      `subnet.env lacks FLANNEL_SUBNET or FLANNEL_MTU: ${subnetEnv.trim()}`,
    );
  }
  return { bip, mtu: Number(mtu) };
}

/**
 * Makes docker0, or a bridge of another name, as dockerd does, and turns forwarding on as it does. For hosts without Docker.
 * It has a MAC of its own: the kernel gives another bridge the lowest MAC of its ports, and a container that comes
 * would change its neighbours' gateway.
 */
export async function makeBridge(host: Host, { bip, mtu }: BridgeOptions, name = 'docker0'): Promise<void> {
  const gateway = parsePrefix4(bip);
  if (gateway === undefined)
    throw new WeftError('lab-bridge', `no IPv4 address with a length for ${name}: ${bip}`);
  await host.batch([
    `link add ${name} address ${macOf(gateway.address)} mtu ${mtu} type bridge`,
    `addr add ${bip} brd + dev ${name}`,
    `link set ${name} up`,
  ]);
  await host.must(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
}

/** Makes a namespace wired to a bridge of the host, with the next free address: the first container has .2. */
export async function makeContainer(host: Host, name: string, bridgeName = 'docker0'): Promise<Container> {
  const [bridge] = await host.ip(['addr', 'show', 'dev', bridgeName]);
  const own = bridge?.addr_info?.find((it) => it.family === 'inet');
  const gateway = parsePrefix4(`${own?.local}/${own?.prefixlen}`);
  if (gateway === undefined)
    throw new WeftError('lab-bridge', `${bridgeName} of ${host.name} has no IPv4 address`);
  const neighbours = await host.ip(['link', 'show', 'master', bridgeName]);
  const address = formatIpv4(ipv4(gateway.address + 1 + neighbours.length));

  const namespace = `${host.namespace}-${name}`;
  const container = new Container(host, { name, address, namespacePath: `/run/netns/${namespace}` });
  const add = ['ip', 'netns', 'add', namespace] as const;
  outputOf(add, await host.components.commands.run(add));
  const link = `veth-${name}`;
  const pair = `link add ${link} mtu ${bridge?.mtu} type veth peer name eth0 mtu ${bridge?.mtu} netns ${namespace}`;
  const wire = ['ip', '-n', host.namespace, '-batch', '-'] as const;
  const stdin = `${pair}\nlink set ${link} master ${bridgeName}\nlink set ${link} up\n`;
  outputOf(wire, await host.components.commands.run(wire, { stdin }));
  await container.batch([
    'link set lo up',
    `addr add ${address}/${gateway.length} dev eth0`,
    'link set eth0 up',
    `route add default via ${formatIpv4(gateway.address)}`,
  ]);
  await container.untilUp('eth0');
  await host.untilUp(link, bridgeName);
  await recordContainer(container);
  return container;
}
