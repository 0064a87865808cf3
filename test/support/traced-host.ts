import { askDaemon, readKnownNetwork } from '#src/diagnose/known-network.ts';
import { type Eye, openEye } from '#src/diagnose/trace/eye.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { withPresentPeers } from '#src/diagnose/trace/present-peers.ts';
import type { Container } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { artefactsOf } from '#src/node/network-id.ts';
import { askApi } from '#src/observe/api-client.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, startFlanneld } from './flanneld.ts';
import { type Network, pairOf } from './network.ts';

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
  const answer = await askDaemon(place);
  const remembered = await readKnownNetwork({ files: systemFiles, kernel: eye.kernel }, place, answer);
  const present = await askApi(place.socket, '/v1/peers').catch(() => undefined);
  const known = remembered && present ? withPresentPeers(remembered, present.peers) : remembered;
  if (known === undefined) throw new Error(`nothing is known of the network on ${host.name}`);
  const namespaces = async () => containers.map(({ namespacePath }) => namespacePath);
  return { name: host.name, eye, known, namespaces };
}

export const eyeOn = (host: Host): Eye =>
  openEye({ netlink: systemNetlink }, { namespace: `/run/netns/${host.namespace}` });

/** The first two hosts of a network, as a trace on each would see them. */
export interface RememberingPair {
  readonly one: LocalHost;
  readonly two: LocalHost;
  close(): void;
}

/** Starts every flanneld of a network again, so that it writes down at once which peers it has; then looks. */
export async function rememberedPair(network: Network): Promise<RememberingPair> {
  await rememberPeers(network);
  const [one, two] = await Promise.all(
    pairOf(network).map(({ host, container }) => tracedHost(host, [container])),
  );
  if (one === undefined || two === undefined) throw new Error('a network of two hosts is needed');
  const close = () => {
    for (const { eye } of [one, two]) eye.close();
  };
  return { one, two, close };
}

export async function rememberPeers({ nodes }: Network): Promise<void> {
  for (const { host, container, flags } of nodes) {
    await (await host.daemon('flanneld'))?.stop();
    await startFlanneld(host, flags);
    const isRemembered = async () => {
      const { known, eye } = await tracedHost(host, [container]);
      eye.close();
      return known?.peers.length === nodes.length - 1;
    };
    await until(isRemembered, { what: `peers of ${host.name} in its memory` });
  }
}
