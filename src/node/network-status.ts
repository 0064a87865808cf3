import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { VERSION } from '#src/lib/version.ts';
import type { Membership } from '#src/membership/membership.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { ChangeStatus, NodeStatus, RotationStatus, TrustStatus } from '#src/observe/node-status.ts';

/** What a status is made from. */
export interface NetworkView {
  readonly name: string | undefined;
  readonly identity: string;
  readonly troubles: readonly string[];
  readonly dataPath: DataPath | undefined;
  readonly trust: TrustStatus | undefined;
  readonly membership: Pick<Membership, 'registry'> | undefined;
  readonly rotation?: RotationStatus | undefined;
  readonly change?: ChangeStatus | undefined;
  /** Of the registry, for as long as it has not answered. */
  readonly endpoints: string;
  /** Monotonic milliseconds. */
  readonly now: number;
}

/** What one network knows of itself, for `weft status`, health and metrics. */
export function describeNetwork({
  name,
  identity,
  troubles,
  dataPath,
  trust,
  membership,
  rotation,
  change,
  endpoints,
  now,
}: NetworkView): Omit<NodeStatus, 'eventLoopDelayMs'> {
  const registry = membership?.registry;
  const certainAt = registry?.certainAt;
  const plain = dataPath && plainPeers(dataPath);
  const fastPath = dataPath?.fastPath?.status;
  return {
    version: VERSION,
    ...(name !== undefined && { name }),
    node: identity,
    ready: troubles.length === 0,
    troubles,
    ...(dataPath !== undefined && { network: describePlace(dataPath) }),
    registry: {
      description: registry?.description ?? endpoints,
      state: registry?.state ?? 'connecting',
      ...(certainAt !== undefined && { ageSeconds: (now - certainAt) / 1000 }),
    },
    peers: {
      accepted: dataPath?.table.accepted ?? 0,
      ...(plain !== undefined && { plain }),
      quarantined: Array.from(dataPath?.leftOut() ?? [], ([lease, reason]) => ({ lease, reason })),
    },
    ...(trust !== undefined && { trust }),
    kernel: describeKernel(dataPath),
    ...(fastPath !== undefined && { fastPath }),
    ...(rotation !== undefined && { rotation }),
    ...(change !== undefined && { change }),
  };
}

function describeKernel(dataPath: DataPath | undefined): NodeStatus['kernel'] {
  const { wanted = 0, failing = [], repairs = 0, checks = 0 } = dataPath?.kernelStatus ?? {};
  return { wanted, failing, repairs, checks };
}

function describePlace({ intent, routeForm }: DataPath): NonNullable<NodeStatus['network']> {
  const { config, subnets, backend, underlay } = intent;
  const [network, ipv6Network] = valuesOf(networksOf(config.ranges)).map(formatPrefix);
  const [subnet, ipv6Subnet] = valuesOf(subnets).map(formatPrefix);
  const [address, ipv6Address] = valuesOf(underlay.address).map(formatIp);
  const [publicIp, publicIpv6] = valuesOf(underlay.publicIp).map(formatIp);
  return {
    network: network ?? '',
    subnet: subnet ?? '',
    ...(ipv6Network !== undefined && { ipv6Network }),
    ...(ipv6Subnet !== undefined && { ipv6Subnet }),
    backend: backend.type,
    underlay: `${underlay.name} (${address})`,
    publicIp: publicIp ?? '',
    ...(ipv6Address !== undefined && { ipv6Address }),
    ...(publicIpv6 !== undefined && { publicIpv6 }),
    mtu: backend.mtu,
    routes: routeForm,
  };
}

function plainPeers({ intent, table }: DataPath): number | undefined {
  const { protectionOf } = intent.backend;
  if (protectionOf === undefined) return undefined;
  let count = 0;
  for (const lease of table.leases()) if (protectionOf(lease) === 'none') count++;
  return count;
}
