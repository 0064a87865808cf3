import { askDaemon, readKnownNetwork } from '#src/diagnose/known-network.ts';
import { type Eye, openEye } from '#src/diagnose/trace/eye.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import type { Container } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { artefactsOf } from '#src/node/network-id.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { PREFIX } from './flanneld.ts';

/** The flags' defaults. */
const PLACES = { stateDir: '/var/lib/weft', subnetFile: '/run/flannel/subnet.env' };

/** A host of a lab, as a trace on it would see it. */
export async function tracedHost(host: Host, containers: readonly Container[]): Promise<LocalHost> {
  const eye = eyeOn(host);
  const { socket, stateFile, subnetFile } = artefactsOf({ prefix: PREFIX }, PLACES);
  const place = {
    socket: host.path(socket),
    stateFile: host.path(stateFile),
    subnetFile: host.path(subnetFile),
  };
  const known = await readKnownNetwork(
    { files: systemFiles, kernel: eye.kernel },
    place,
    await askDaemon(place),
  );
  if (known === undefined) throw new Error(`nothing is known of the network on ${host.name}`);
  const namespaces = async () => containers.map(({ namespacePath }) => namespacePath);
  return { name: host.name, eye, known, namespaces };
}

export const eyeOn = (host: Host): Eye =>
  openEye({ netlink: systemNetlink }, { namespace: `/run/netns/${host.namespace}` });
