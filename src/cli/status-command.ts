import { join } from 'node:path';
import type { Output } from '#src/cli/terminal.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, driverSocket, type NetworkId } from '#src/node/network-id.ts';
import { askHost, askNode } from '#src/observe/ask-status.ts';
import type { DriverNetwork, DriverStatus } from '#src/observe/driver-status.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';
import { systemFolders } from '#src/sys/folders.ts';

export interface StatusRequest {
  readonly options: FlanneldOptions;
  /** The network that was asked for; `undefined` for whatever this host serves. */
  readonly id: NetworkId | undefined;
  readonly json: boolean;
}

/** `weft status`: what the flanneld on this host knows of its networks. 0 when all of them are ready. */
export async function statusCommand({ options, id, json }: StatusRequest, output: Output): Promise<number> {
  const statuses = await ask(options, id);
  const [first] = statuses;
  const docker = first?.docker;
  if (json) output.print(JSON.stringify(statuses.length === 1 ? first : statuses, undefined, 2));
  else {
    for (const status of statuses) for (const line of formatStatus(status)) output.print(line);
    for (const line of docker === undefined ? [] : formatDriver(docker)) output.print(line);
  }
  const isReady = statuses.every(({ ready }) => ready) && (docker?.troubles.length ?? 0) === 0;
  return isReady ? 0 : 1;
}

/** Of each network that was meant; of the host alone where its flanneld serves Docker's driver and no network. */
async function ask(
  options: FlanneldOptions,
  id: NetworkId | undefined,
): Promise<(NodeStatus | HostStatus)[]> {
  const { socket } = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
  const asked = id === undefined ? [...new Set([socket, ...(await socketsIn(options.stateDir))])] : [socket];
  const answers = await Promise.all(asked.map(async (path) => ({ path, answer: await askNode(path) })));
  const statuses = answers.flatMap(({ answer }) =>
    answer === undefined || typeof answer === 'string' ? [] : [answer],
  );
  if (statuses.length > 0) return statuses;
  const host = id?.name === undefined ? await askHost(driverSocket(options)) : undefined;
  if (host !== undefined && host !== 'silent') return [host];
  const silent = answers.find(({ answer }) => answer !== undefined);
  const what =
    silent === undefined
      ? 'no flanneld serves this network'
      : 'flanneld holds its socket but does not answer';
  throw new WeftError('not-running', `${what} on this host (${silent?.path ?? socket})`, {
    remedy: 'look at "systemctl status flanneld"; --etcd-prefix and --state-dir must be those of the daemon',
  });
}

const socketsIn = async (folder: string): Promise<string[]> =>
  (await systemFolders.list(folder).catch(() => []))
    .filter((name) => /^network-[0-9a-f]{12}\.sock$/.test(name))
    .map((name) => join(folder, name));

function formatStatus(status: NodeStatus | HostStatus): string[] {
  if (!('registry' in status))
    return [`weft ${status.version}, node ${status.node}, no network of flannel's`];
  const { name, ready, troubles, network, registry, peers, kernel, version, node } = status;
  const age =
    registry.ageSeconds === undefined ? 'never heard' : `certain ${registry.ageSeconds.toFixed(1)} s ago`;
  return [
    `weft ${version}, node ${node}${name === undefined ? '' : `, network ${name}`}: ${ready ? 'ready' : 'NOT READY'}`,
    ...troubles.map((trouble) => `  trouble    ${trouble}`),
    ...(network === undefined
      ? []
      : [
          `  subnet     ${network.subnet} of ${network.network} (${network.backend}, MTU ${network.mtu})`,
          `  underlay   ${network.underlay}, public IP ${network.publicIp}`,
        ]),
    `  registry   ${registry.description}: ${registry.state}, ${age}`,
    `  peers      ${peers.accepted}${network?.routes === 'linear' ? ', each route with a metric of its own' : ''}`,
    ...peers.quarantined.map(({ lease, reason }) => `  ignored    ${lease}: ${reason}`),
    `  kernel     ${kernel.wanted - kernel.failing.length} of ${kernel.wanted} objects as wanted, ${kernel.repairs} repairs since the start`,
    ...kernel.failing.map(({ key, reason }) => `  failing    ${key}: ${reason}`),
  ];
}

const STATES = {
  off: 'off',
  waiting: 'waits for Docker on this host',
  starting: 'starts',
  on: 'on',
} as const satisfies Record<DriverStatus['state'], string>;
/** So many containers of a network are named. */
const NAMED = 5;

/** What Docker's driver does; exported for its test. */
export function formatDriver({ state, troubles, networks }: DriverStatus): string[] {
  const used = networks.filter(({ containers }) => containers.length > 0);
  const idle = networks.length - used.length;
  return [
    `Docker's driver: ${STATES[state]}${troubles.length > 0 ? ', NOT READY' : ''}`,
    ...troubles.map((trouble) => `  trouble    ${trouble}`),
    ...used.map((network) => `  network    ${networkText(network)}`),
    ...(idle > 0 ? [`  networks   ${idle}${used.length > 0 ? ' more' : ''} without a container here`] : []),
  ];
}

function networkText({ name, vni, subnets, containers, cutOff }: DriverNetwork): string {
  const more = containers.length > NAMED ? ', …' : '';
  const noun = containers.length === 1 ? 'container' : 'containers';
  const named = `${containers.length} ${noun} here (${containers.slice(0, NAMED).join(', ')}${more})`;
  return `${name}: VNI ${vni}, ${subnets.join(', ')}, ${named}${cutOff > 0 ? `, ${cutOff} cut off` : ''}`;
}
