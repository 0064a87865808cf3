import { type KnownPlaces, readKnownPlaces } from '#src/cli/known-places.ts';
import { type OverlayPlaces, overlayPlaces } from '#src/diagnose/capture/overlay-places.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { askApi } from '#src/observe/api-client.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { networkNamespacePath, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { type FoundSegments, findSegments } from '#src/tenant/found-segments.ts';

/**
 * Where this host's overlays are, as its flanneld says, or the files that it left. `network`: the name of one that the user
 * means, empty for none: one of Docker's, or one of several of flannel's.
 */
export async function findPlaces(
  options: FlanneldOptions,
  network: string,
  signal: AbortSignal,
): Promise<OverlayPlaces> {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
  const read = (id: NetworkId | undefined): Promise<KnownPlaces> => {
    const context = { ask: askApi, folders: systemFolders, signal };
    return readKnownPlaces({ files: systemFiles, kernel }, { options, id }, context);
  };
  try {
    const { places, docker } = await read(undefined);
    const isDockers = network === '' || docker.some(({ name }) => name === network);
    const named = isDockers ? [] : (await read(namedNetwork(options.etcdPrefix, network))).places;
    return overlayPlaces({
      known: [
        ...named.map(({ known }) => ({ network: known, name: network })),
        ...places.map(({ known }) => ({ network: known })),
      ],
      tenants: docker,
      tenantPort: options.tenantPort,
      tenantNamespace: networkNamespacePath(TENANT_NAMESPACE),
      segments: docker.length === 0 ? undefined : await tenantSegments(),
    });
  } finally {
    kernel.close();
  }
}

/** `undefined` where there are none, or this process may not look. */
async function tenantSegments(): Promise<FoundSegments | undefined> {
  if (!(await systemNetworkNamespaces.isThere(TENANT_NAMESPACE))) return undefined;
  const namespace = networkNamespacePath(TENANT_NAMESPACE);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace });
  try {
    return await findSegments(kernel);
  } catch {
    return undefined;
  } finally {
    kernel.close();
  }
}
