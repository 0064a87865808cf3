import { join } from 'node:path';
import type { Output } from '#src/cli/terminal.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, type NetworkId } from '#src/node/network-id.ts';
import { askNode } from '#src/observe/local-api.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
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
  if (json) output.print(JSON.stringify(statuses.length === 1 ? first : statuses, undefined, 2));
  else for (const status of statuses) for (const line of formatStatus(status)) output.print(line);
  return statuses.every(({ ready }) => ready) ? 0 : 1;
}

async function ask(options: FlanneldOptions, id: NetworkId | undefined): Promise<NodeStatus[]> {
  const { socket } = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
  const asked = id === undefined ? [...new Set([socket, ...(await socketsIn(options.stateDir))])] : [socket];
  const answers = await Promise.all(asked.map(async (path) => ({ path, answer: await askNode(path) })));
  const statuses = answers.flatMap(({ answer }) =>
    answer === undefined || typeof answer === 'string' ? [] : [answer],
  );
  if (statuses.length > 0) return statuses;
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

function formatStatus({
  name,
  ready,
  troubles,
  network,
  registry,
  peers,
  kernel,
  version,
  node,
}: NodeStatus): string[] {
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
