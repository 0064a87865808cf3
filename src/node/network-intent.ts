import type { Backend } from '#src/backend/backend.ts';
import type { SubnetFile } from '#src/docker/subnet-file.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { Prefix4 } from '#src/lib/ip.ts';
import type { LeaseRules } from '#src/network/lease-rules.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { OverlapRules } from '#src/network/overlap-rules.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import { type KernelObject, RTPROT_WEFT } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/**
 * The wanted state of one network on this host: a pure value. A start from the registry, a start
 * from memory, a changed config, a moved underlay and `weft plan` all make one and hand it to the
 * same {@link DataPath.apply}. All that the kernel, the packet filter and Docker get of the network
 * is derived from it here.
 */
export interface NetworkIntent {
  readonly config: NetworkConfig;
  /** The subnet of our own lease. */
  readonly subnet: Prefix4;
  readonly underlay: Underlay;
  readonly backend: Backend;
  /** What subnets of peers must not hide on this host. */
  readonly overlap: OverlapRules;
}

/** The flags by which state is derived from an intent. */
export interface IntentOptions {
  readonly ipMasq: boolean;
  readonly forwardRules: boolean;
  readonly randomFully: boolean;
  /** The bit by which Docker knows the overlay's packets; 0 for none. */
  readonly dockerMark: number;
  readonly blackhole: boolean;
}

/** What subnet.env of an earlier run says: rules for it are removed. */
export interface PreviousNetwork {
  readonly network?: Prefix4;
  readonly subnet?: Prefix4;
}

/** The part of the kernel that the network looks after; the device of the underlay is only followed. */
export const scopesOf = ({ backend, underlay }: NetworkIntent): readonly Scope[] => [
  ...backend.scopes,
  { kinds: ['link'], filter: { device: underlay.name }, owns: () => false },
  { kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns: () => false },
];

/** What the node needs once, for any number of peers. */
export function ownObjectsOf(
  intent: NetworkIntent,
  { blackhole }: Pick<IntentOptions, 'blackhole'>,
): readonly KernelObject[] {
  const { backend, subnet } = intent;
  return [
    ...backend.ownObjects({ v4: subnet }),
    ...(blackhole ? [blackholeRoute(subnet)] : []),
    ...forwardingOf(intent),
  ];
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

/** The devices by which packets of the overlay come in from other hosts. */
export function inboundDevicesOf({ backend, underlay }: NetworkIntent): readonly string[] {
  const { devices, underlay: byUnderlay } = backend.inbound;
  return byUnderlay ? [...devices, underlay.name] : devices;
}

/** Switching off the host's forwarding switches off every device's. Docker does the same at its start. */
const forwardingOf = (intent: NetworkIntent): readonly KernelObject[] => [
  { kind: 'sysctl', path: 'net/ipv4/ip_forward', value: '1' },
  ...inboundDevicesOf(intent).map((device): KernelObject => {
    return { kind: 'sysctl', path: `net/ipv4/conf/${device}/forwarding`, value: '1' };
  }),
];

/** By what the leases of other hosts are judged. */
export function leaseRulesOf({ config, subnet, underlay, backend, overlap }: NetworkIntent): LeaseRules {
  return {
    network: config.network,
    subnetLength: config.subnetLength,
    ownName: formatSubnetName({ v4: subnet }),
    ownSubnet: subnet,
    ownPublicIp: underlay.publicIp,
    overlap,
    judge: (attributes) => backend.judge(attributes),
    identityOf: (attributes) => backend.identityOf(attributes),
  };
}

export function wantedRulesOf(
  intent: NetworkIntent,
  { ipMasq, forwardRules, randomFully, dockerMark }: IntentOptions,
  { network, subnet: previousSubnet }: PreviousNetwork,
): WantedRules {
  const { config, subnet } = intent;
  return {
    v4: { network: config.network, subnet },
    masquerade: ipMasq,
    forward: forwardRules,
    randomFully,
    arriveBy: inboundDevicesOf(intent),
    dockerMark,
    ...(network !== undefined &&
      previousSubnet !== undefined && { previous: { v4: { network, subnet: previousSubnet } } }),
  };
}

export const subnetFileOf = (
  { config, subnet, backend }: NetworkIntent,
  { ipMasq }: IntentOptions,
): SubnetFile => ({ network: config.network, subnet, mtu: backend.mtu, ipMasq });
