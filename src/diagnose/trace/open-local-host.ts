import {
  askDaemon,
  type KnownNetwork,
  type NetworkPlace,
  readKnownNetwork,
} from '#src/diagnose/known-network.ts';
import { type Eye, openEye } from '#src/diagnose/trace/eye.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { withPresentPeers } from '#src/diagnose/trace/present-peers.ts';
import { askApi } from '#src/observe/api-client.ts';
import type { Files } from '#src/sys/files.ts';
import { listLocalNamespaces } from '#src/sys/local-namespaces.ts';
import type { Netlink } from '#src/sys/netlink-socket.ts';
import { isNetworkNamespace, networkNamespacePath } from '#src/sys/network-namespaces.ts';

export interface OpenHostComponents {
  readonly netlink: Netlink;
  readonly files: Files;
}

/** The namespace of Docker's networks of weft. */
const TENANTS = networkNamespacePath('weft');

/** This host, for one trace. `close` it afterwards. */
export interface OpenedHost extends LocalHost {
  close(): void;
}

/** Looks what this host knows of its network, and opens what it sees it with. */
export async function openLocalHost(
  { netlink, files }: OpenHostComponents,
  place: NetworkPlace,
): Promise<OpenedHost> {
  const eye = openEye({ netlink });
  const tenants = isNetworkNamespace(TENANTS) ? eye.at(TENANTS) : undefined;
  try {
    const [known, name] = await Promise.all([readNetwork(files, eye, place), hostName(files)]);
    const namespaces = async () => listLocalNamespaces();
    return { ...{ name, eye, known, tenants, namespaces }, close: () => eye.close() };
  } catch (error) {
    eye.close();
    throw error;
  }
}

async function readNetwork(files: Files, eye: Eye, place: NetworkPlace): Promise<KnownNetwork | undefined> {
  const answer = await askDaemon(place);
  const known = await readKnownNetwork({ files, kernel: eye.kernel }, place, answer);
  if (known === undefined || answer.state !== 'running') return known;
  const present = await askApi(place.socket, '/v1/peers').catch(() => undefined);
  return present === undefined ? known : withPresentPeers(known, present.peers);
}

const hostName = async (files: Files): Promise<string> =>
  (await files.read('/proc/sys/kernel/hostname').catch(() => undefined))?.trim() || 'this host';
