import { alloc } from '#src/backend/alloc.ts';
import type {
  BackendKind,
  BackendSecrets,
  FoundState,
  NetworkTrace,
  OtherPath,
  PreparedBackend,
  SecretName,
} from '#src/backend/backend.ts';
import { extension } from '#src/backend/extension.ts';
import { hostGw } from '#src/backend/host-gw.ts';
import { ipip } from '#src/backend/ipip-kind.ts';
import { ipsec } from '#src/backend/ipsec.ts';
import { PreparedChange } from '#src/backend/prepare-change.ts';
import { udp } from '#src/backend/udp.ts';
import { vxlan } from '#src/backend/vxlan-kind.ts';
import { wireguard } from '#src/backend/wireguard-kind.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix } from '#src/lib/ip.ts';
import { isSwitched } from '#src/network/change-plan.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import { type KernelObject, keyOf, type Link, RTPROT_WEFT } from '#src/state/object.ts';

/** All backends there are. A new one is a file and a line here. */
export const BACKENDS: readonly BackendKind[] = [
  vxlan,
  hostGw,
  ipip,
  wireguard,
  ipsec,
  extension,
  udp,
  alloc,
];

/** flannel's backends that set routes in a provider's network. */
const CLOUD_BACKENDS = ['aws-vpc', 'gce', 'ali-vpc', 'tencent-vpc'];

/** What is known of a host before a network starts on it. */
export interface BackendHost {
  readonly links: readonly Link[];
  readonly identity: string;
  /** A short name of the network, for backends whose options have none. */
  readonly instance: string;
  readonly secrets?: BackendSecrets;
  /** Another path that the network is to have at the same time. */
  readonly beside?: OtherPath;
}

/** The secrets of the node that the config's backend works with, or both while it is being changed. */
export const secretsNeeded = ({
  backend,
  change,
}: Pick<NetworkConfig, 'backend' | 'change'>): readonly SecretName[] =>
  [backend, change?.other].flatMap(
    (one) => (one && BACKENDS.find((kind) => kind.type === one.type)?.secrets?.(one.options)) ?? [],
  );

/**
 * The backend that the network config asks for, or both while it is being changed. Throws WeftError `backend` for an unknown
 * type, `config` for its options, `change` for two that can't be on one host.
 */
export function prepareBackend(config: BackendWish, host: BackendHost): PreparedBackend {
  const { backend, change } = config;
  if (change === undefined) return prepareOne(config, host);
  const isSettled = isSwitched(change.phase);
  const own = prepareOne(config, { ...host, beside: { backend: change.other, isOld: isSettled } });
  const beside = { backend, isOld: !isSettled };
  return new PreparedChange(
    change,
    own,
    prepareOne({ ...config, backend: change.other }, { ...host, beside }),
  );
}

type BackendWish = Pick<NetworkConfig, 'ranges' | 'backend' | 'change'>;

function prepareOne({ ranges, backend: { type, options } }: BackendWish, host: BackendHost): PreparedBackend {
  const kind = BACKENDS.find((candidate) => candidate.type === type);
  if (kind === undefined) {
    const names = BACKENDS.map((candidate) => candidate.type).join(', ');
    const cloud = CLOUD_BACKENDS.includes(type)
      ? ' (it sets routes through a cloud provider’s API, which weft has no client for)'
      : '';
    throw new WeftError('backend', `Error fetching backend: unknown backend type: ${type}${cloud}`, {
      remedy: `set "Backend": {"Type": "vxlan"} in the network config; there are ${names}`,
    });
  }
  return kind.prepare({ ...host, network: networksOf(ranges), options });
}

/** The VNIs under which one network may have closed its port, whatever its backend was. */
export const sealsOf = (of: NetworkTrace): readonly number[] =>
  BACKENDS.flatMap((kind) => kind.sealOf?.(of) ?? []);

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
