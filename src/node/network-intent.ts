import type { Backend } from '#src/backend/backend.ts';
import type { SubnetFile } from '#src/docker/subnet-file.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { Prefix4 } from '#src/lib/ip.ts';
import type { LeaseRules } from '#src/network/lease-rules.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { Underlay } from '#src/node/underlay.ts';
import { type KernelObject, RTPROT_WEFT } from '#src/state/object.ts';

/**
 * What one network shall be on this host: a pure value. A start from the registry, a start from memory, a changed config,
 * a moved underlay and `weft plan` all make one and hand it to the same {@link DataPath.apply}. Whatever the kernel, the
 * packet filter and Docker get of the network is derived from it here.
 */
export interface NetworkIntent {
  readonly config: NetworkConfig;
  /** The subnet of our own lease. */
  readonly subnet: Prefix4;
  readonly underlay: Underlay;
  readonly backend: Backend;
}

/** The flags by which state is derived from an intent. */
export interface IntentOptions {
  readonly ipMasq: boolean;
  readonly forwardRules: boolean;
  readonly randomFully: boolean;
  readonly blackhole: boolean;
}

/** What subnet.env of an earlier run says: rules for it are removed. */
export interface PreviousNetwork {
  readonly network?: Prefix4;
  readonly subnet?: Prefix4;
}

/** What the node needs once, for any number of peers. */
export function ownObjectsOf(
  { backend, subnet }: NetworkIntent,
  { blackhole }: IntentOptions,
): readonly KernelObject[] {
  const own = backend.ownObjects({ v4: subnet });
  return blackhole ? [...own, blackholeRoute(subnet)] : own;
}

/** Keeps packets to containers that are gone on this host. It has the last preference: the bridge's own route comes first. */
const blackholeRoute = (subnet: Prefix4): KernelObject => ({
  kind: 'route',
  destination: subnet,
  type: 'blackhole',
  onlink: false,
  metric: LAST_METRIC,
  protocol: RTPROT_WEFT,
  scope: 0,
});

const LAST_METRIC = 0xffff_ffff;

/** By what the leases of other hosts are judged. */
export function leaseRulesOf({ config, subnet, underlay, backend }: NetworkIntent): LeaseRules {
  return {
    network: config.network,
    subnetLength: config.subnetLength,
    ownName: formatSubnetName({ v4: subnet }),
    ownSubnet: subnet,
    ownPublicIp: underlay.publicIp,
    underlay: underlay.prefixes,
    judge: (attributes) => backend.judge(attributes),
    identityOf: (attributes) => backend.identityOf(attributes),
  };
}

export function wantedRulesOf(
  { config, subnet }: NetworkIntent,
  { ipMasq, forwardRules, randomFully }: IntentOptions,
  { network, subnet: previousSubnet }: PreviousNetwork,
): WantedRules {
  return {
    v4: { network: config.network, subnet },
    masquerade: ipMasq,
    forward: forwardRules,
    randomFully,
    ...(network !== undefined &&
      previousSubnet !== undefined && { previous: { v4: { network, subnet: previousSubnet } } }),
  };
}

export const subnetFileOf = (
  { config, subnet, backend }: NetworkIntent,
  { ipMasq }: IntentOptions,
): SubnetFile => ({ network: config.network, subnet, mtu: backend.mtu, ipMasq });
