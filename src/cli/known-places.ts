import { join } from 'node:path';
import { type NetworksRequest, socketsOf } from '#src/cli/ask-networks.ts';
import type { LookContext } from '#src/cli/look-command.ts';
import {
  askDaemon,
  type KnownNetworkComponents,
  type NetworkPlace,
  readKnownNetwork,
} from '#src/diagnose/known-network.ts';
import type { KnownPlace } from '#src/diagnose/routes/address-place.ts';
import { withPresentPeers } from '#src/diagnose/trace/present-peers.ts';
import { WeftError } from '#src/lib/errors.ts';
import { equalPrefix, formatPrefix } from '#src/lib/ip.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { artefactsOf, driverSocket } from '#src/node/network-id.ts';
import type { Peers } from '#src/observe/api.ts';
import { askHost } from '#src/observe/ask-status.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';

/** What is known here of the host's networks, whether a flanneld runs or not. */
export interface KnownPlaces {
  readonly places: readonly KnownPlace[];
  readonly docker: readonly DriverNetwork[];
  /** What is not known, and where the rest is from. */
  readonly notes: readonly string[];
}

export async function readKnownPlaces(
  components: KnownNetworkComponents,
  request: NetworksRequest,
  context: Pick<LookContext, 'ask' | 'folders' | 'signal'>,
): Promise<KnownPlaces> {
  const read = await Promise.all(
    (await placesOf(request, context)).map((place) => readPlace(components, place, context)),
  );
  const known = withoutOthersFiles(read.filter((it) => it !== undefined));
  const running = known.find(({ status }) => status !== undefined)?.status;
  const host = running ?? (await askHost(driverSocket(request.options)).catch(() => undefined));
  const notes = known.flatMap(({ note }) => note ?? []);
  const nothing = 'no flanneld answers on this host, and none has written down a network here';
  return {
    places: known.map(({ place }) => place),
    docker: host === undefined || host === 'silent' ? [] : (host.docker?.networks ?? []),
    notes: known.length === 0 && host === undefined ? [nothing] : [...new Set(notes)],
  };
}

/**
 * Flanneld writes subnet.env at the same place whatever the network's name in the registry is: where only that file is
 * found of a network, and another one here has its subnet, the file is the other one's.
 */
function withoutOthersFiles(read: readonly ReadPlace[]): ReadPlace[] {
  const isFileOnly = ({ place }: ReadPlace): boolean => place.known.source === 'subnet-file';
  const others = read.filter((it) => !isFileOnly(it)).map(({ place }) => place.known.subnet);
  return read.filter(
    (it) => !isFileOnly(it) || !others.some((subnet) => equalPrefix(subnet, it.place.known.subnet)),
  );
}

/** Of each network that was meant, or that has a socket or a state file here. */
async function placesOf(
  { options, id }: NetworksRequest,
  context: Pick<LookContext, 'folders'>,
): Promise<NetworkPlace[]> {
  const meant = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
  if (id !== undefined) return [meant];
  const names = await context.folders.list(options.stateDir).catch((): string[] => []);
  const files = names.filter((name) => /^network-[0-9a-f]{12}\.json$/.test(name));
  const sockets = new Set([
    ...(await socketsOf(context, { options, id })),
    ...files.map((name) => join(options.stateDir, name.replace(/json$/, 'sock'))),
  ]);
  return [...sockets].map((socket) =>
    socket === meant.socket
      ? meant
      : { socket, stateFile: socket.replace(/sock$/, 'json'), subnetFile: `${socket}.none` },
  );
}

interface ReadPlace {
  readonly place: KnownPlace;
  readonly status?: NodeStatus;
  readonly note?: string;
}

async function readPlace(
  components: KnownNetworkComponents,
  place: NetworkPlace,
  { ask, signal }: Pick<LookContext, 'ask' | 'signal'>,
): Promise<ReadPlace | undefined> {
  const answer = await askDaemon(place);
  const known = await readKnownNetwork(components, place, answer);
  if (known === undefined) return undefined;
  if (answer.state !== 'running') {
    const at = known.rememberedAt === undefined ? '' : ` at ${new Date(known.rememberedAt).toISOString()}`;
    const note =
      known.source === 'subnet-file'
        ? 'flanneld does not answer: of its peers nothing is known'
        : `flanneld does not answer: this is what it wrote down${at}`;
    return { place: { known, routeForm: 'flannel', quarantined: [] }, note };
  }
  const { status } = answer;
  const peers = await ask(place.socket, '/v1/peers', { signal }).catch((error: unknown) => {
    if (error instanceof WeftError) return undefined;
    throw error;
  });
  return {
    place: {
      known: peers === undefined ? known : withPresentPeers(known, peers.peers),
      routeForm: status.network?.routes ?? 'flannel',
      quarantined: quarantinedOf(status, peers),
    },
    status,
  };
}

function quarantinedOf(status: NodeStatus, peers: Peers | undefined): KnownPlace['quarantined'] {
  const refused =
    peers?.peers.flatMap(({ lease, programmed, reason = '' }) =>
      programmed === 'quarantined' ? [{ lease, reason }] : [],
    ) ?? status.peers.quarantined;
  return refused.flatMap(({ lease, reason }) => {
    const v4 = parseSubnetName(lease)?.v4;
    return v4 === undefined ? [] : [{ lease, reason, subnet: formatPrefix(v4) }];
  });
}
