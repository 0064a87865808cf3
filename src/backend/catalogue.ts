import { alloc } from '#src/backend/alloc.ts';
import type { BackendKind, FoundState, NetworkTrace, PreparedBackend } from '#src/backend/backend.ts';
import { hostGw } from '#src/backend/host-gw.ts';
import { vxlan } from '#src/backend/vxlan-kind.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix } from '#src/lib/ip.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import { type KernelObject, keyOf, type Link, RTPROT_WEFT } from '#src/state/object.ts';

/** All backends there are. A new one is a file and a line here. */
export const BACKENDS: readonly BackendKind[] = [vxlan, hostGw, alloc];

/** flannel's backends that set routes in a provider's network. */
const CLOUD_BACKENDS = ['aws-vpc', 'gce', 'ali-vpc', 'tencent-vpc'];

/** What is known of a host before a network starts on it. */
export interface BackendHost {
  readonly links: readonly Link[];
  readonly identity: string;
  /** A short name of the network, for backends whose options have none. */
  readonly instance: string;
}

/** The backend that the network config asks for. Throws WeftError `backend` for an unknown type, `config` for its options. */
export function prepareBackend(
  { ranges, backend: { type, options } }: Pick<NetworkConfig, 'ranges' | 'backend'>,
  host: BackendHost,
): PreparedBackend {
  const kind = BACKENDS.find((candidate) => candidate.type === type);
  if (kind === undefined) {
    const names = BACKENDS.map((candidate) => candidate.type).join(', ');
    const cloud = CLOUD_BACKENDS.includes(type) ? ' (it needs a cloud provider’s API)' : '';
    throw new WeftError('backend', `Error fetching backend: unknown backend type: ${type}${cloud}`, {
      remedy: `set "Backend": {"Type": "vxlan"} in the network config; there are ${names}`,
    });
  }
  return kind.prepare({ ...host, network: networksOf(ranges), options });
}

/**
 * What all backends left on a host for one network, or for all of them, in the order in which it is removed: routes over
 * other devices, then devices with everything on them.
 */
export function leftovers(found: FoundState, of: NetworkTrace | 'all'): readonly KernelObject[] {
  const networks = of === 'all' ? [] : [of.network.v4, of.network.v6].filter((one) => one !== undefined);
  const routes = found.routes.filter(
    ({ protocol, destination }) =>
      protocol === RTPROT_WEFT &&
      (of === 'all' || networks.some((network) => containsPrefix(network, destination))),
  );
  const objects = [...routes, ...BACKENDS.flatMap((kind) => kind.leftovers(found, of))];
  return [...new Map(objects.map((object) => [keyOf(object), object])).values()];
}
