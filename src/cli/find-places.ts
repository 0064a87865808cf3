import { basename, join } from 'node:path';
import { type OverlayPlaces, overlayPlaces } from '#src/diagnose/capture/overlay-places.ts';
import {
  askDaemon,
  type KnownNetwork,
  type KnownPeer,
  type NetworkPlace,
  readKnownNetwork,
} from '#src/diagnose/known-network.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { artefactsOf, driverSocket } from '#src/node/network-id.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { askApi } from '#src/observe/api-client.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { networkNamespacePath } from '#src/sys/network-namespaces.ts';

/** Where this host's overlays are, as its flanneld says, or the files that it left. What can't be found is left out. */
export async function findPlaces(options: FlanneldOptions, signal: AbortSignal): Promise<OverlayPlaces> {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
  try {
    const known: { network: KnownNetwork; name?: string | undefined }[] = [];
    let driver: DriverStatus | undefined;
    for (const place of await networkPlaces(options)) {
      signal.throwIfAborted();
      const answer = await askDaemon(place);
      const network = await readKnownNetwork({ files: systemFiles, kernel }, place, answer).catch(
        () => undefined,
      );
      const status = answer.state === 'running' ? answer.status : undefined;
      driver ??= status?.docker;
      if (network === undefined) continue;
      const peers = status === undefined ? undefined : await peersOf(place);
      known.push({ network: { ...network, peers: peers ?? network.peers }, name: status?.name });
    }
    driver ??= await driverStatus(options);
    return overlayPlaces({
      known,
      tenants: driver?.networks ?? [],
      tenantPort: options.tenantPort,
      tenantNamespace: networkNamespacePath(TENANT_NAMESPACE),
    });
  } finally {
    kernel.close();
  }
}

/** The network that the flags mean, and the others that this host has. */
export async function networkPlaces(options: FlanneldOptions): Promise<NetworkPlace[]> {
  const { socket, stateFile, subnetFile } = artefactsOf({ prefix: options.etcdPrefix }, options);
  const names = await systemFolders.list(options.stateDir).catch(() => []);
  const others = new Set(
    names.flatMap((name) => /^(network-[0-9a-f]{12})\.(?:json|sock)$/.exec(name)?.[1] ?? []),
  );
  others.delete(basename(socket, '.sock'));
  const place = (base: string): NetworkPlace => {
    const path = join(options.stateDir, base);
    return { socket: `${path}.sock`, stateFile: `${path}.json`, subnetFile: `${path}.env` };
  };
  return [{ socket, stateFile, subnetFile }, ...[...others].map(place)];
}

/** The daemon's own list is newer than what it wrote down. */
async function peersOf({ socket }: NetworkPlace): Promise<KnownPeer[] | undefined> {
  const answer = await askApi(socket, '/v1/peers').catch(() => undefined);
  return answer?.peers.flatMap(({ lease, subnet, publicIp, node, backend = '' }): KnownPeer[] => {
    const [prefix, ip] = [parsePrefix4(subnet ?? ''), parseIpv4(publicIp ?? '')];
    if (prefix === undefined) return [];
    const attributes = { backendType: backend, ...(node !== undefined && { node }) };
    return [{ lease, subnet: prefix, attributes, ...(ip !== undefined && { publicIp: ip }) }];
  });
}

async function driverStatus(options: FlanneldOptions): Promise<DriverStatus | undefined> {
  const answer = await askDaemon({ socket: driverSocket(options) });
  return answer.state === 'running' ? answer.status.docker : undefined;
}
