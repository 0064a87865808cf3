import type { Backend } from '#src/backend/backend.ts';
import type { PreviousNetwork, SubnetFile } from '#src/docker/subnet-file.ts';
import type { Overlays, WantedRules } from '#src/firewall/rules.ts';
import type { Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import { familiesOf, type PerFamily, valuesOf } from '#src/lib/per-family.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { LeaseRules } from '#src/network/lease-rules.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { OverlapRules } from '#src/network/overlap-rules.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import { networksOf } from '#src/network/subnet-range.ts';
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
  /** The subnets of our own lease: one in each family of the network. */
  readonly subnets: Subnets;
  readonly underlay: Underlay;
  readonly backend: Backend;
  /** What subnets of peers must not hide on this host. */
  readonly overlap: OverlapRules;
  /**
   * The devices whose IPv6 default route comes from router advertisements. They have to go on taking it when the host
   * forwards, or it would lose its own way out.
   */
  readonly advertised: readonly string[];
}

export type { PreviousNetwork };

/** The flags by which state is derived from an intent. */
export interface IntentOptions {
  readonly ipMasq: boolean;
  readonly forwardRules: boolean;
  readonly randomFully: boolean;
  /** The bit by which Docker knows the overlay's packets; 0 for none. */
  readonly dockerMark: number;
  readonly blackhole: boolean;
}

/**
 * The part of the kernel that the network looks after; the device of the underlay is only followed. Only a blackhole is on no
 * device: without one the routes of all networks need not be listed for each of them.
 */
export const scopesOf = (
  { backend, underlay }: NetworkIntent,
  { blackhole }: Pick<IntentOptions, 'blackhole'>,
): readonly Scope[] => [
  ...backend.scopes,
  { kinds: ['link'], filter: { device: underlay.name }, owns: () => false },
  ...(blackhole ? [{ kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns: () => false } as const] : []),
];

/** What the node needs once, for any number of peers. */
export function ownObjectsOf(
  intent: NetworkIntent,
  { blackhole }: Pick<IntentOptions, 'blackhole'>,
): readonly KernelObject[] {
  const { backend, subnets } = intent;
  return [
    ...backend.ownObjects(subnets),
    ...quietDevicesOf(intent),
    ...(blackhole ? valuesOf(subnets).map(blackholeRoute) : []),
    ...forwardingOf(intent),
  ];
}

/** Keeps packets to containers that are gone on this host. It has the last preference: the bridge's own route comes first. */
const blackholeRoute = (subnet: Prefix): KernelObject => ({
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
  ...(intent.config.ranges.v4 === undefined ? [] : forwarding4(intent)),
  ...(intent.config.ranges.v6 === undefined ? [] : forwarding6(intent)),
];

const forwarding4 = (intent: NetworkIntent): readonly KernelObject[] => {
  const { toCome = [] } = intent.backend.inbound;
  const devices = inboundDevicesOf(intent).filter((device) => !toCome.includes(device));
  return [
    { kind: 'sysctl', path: 'net/ipv4/ip_forward', value: '1' },
    ...devices.map((device): KernelObject => {
      return { kind: 'sysctl', path: `net/ipv4/conf/${device}/forwarding`, value: '1' };
    }),
  ];
};

/** IPv6 forwards by the host's setting alone (ip6_forward of net/ipv6/ip6_output.c). */
const forwarding6 = ({ advertised }: NetworkIntent): readonly KernelObject[] => [
  // First: turning forwarding on removes the default routes of the other devices.
  ...advertised.map((device): KernelObject => {
    return { kind: 'sysctl', path: `net/ipv6/conf/${device}/accept_ra`, value: '2' };
  }),
  { kind: 'sysctl', path: 'net/ipv6/conf/all/forwarding', value: '1' },
];

/** A router advertisement on the overlay's own devices is nobody's to send: flannel writes the same on its IPv6 device. */
const quietDevicesOf = ({ config, backend }: NetworkIntent): readonly KernelObject[] =>
  config.ranges.v6 === undefined
    ? []
    : backend.devices.map((device) => ({
        kind: 'sysctl',
        path: `net/ipv6/conf/${device}/accept_ra`,
        value: '0',
      }));

/** By what the leases of other hosts are judged. */
export function leaseRulesOf({ config, subnets, underlay, backend, overlap }: NetworkIntent): LeaseRules {
  return {
    ranges: config.ranges,
    ownName: formatSubnetName(subnets),
    ownSubnets: subnets,
    ownPublicIp: underlay.publicIp,
    overlap,
    judge: (attributes) => backend.judge(attributes),
    identityOf: (attributes) => backend.identityOf?.(attributes),
  };
}

export function wantedRulesOf(
  intent: NetworkIntent,
  { ipMasq, forwardRules, randomFully, dockerMark }: IntentOptions,
  previous: PreviousNetwork,
): WantedRules {
  const { config, subnets } = intent;
  const before = overlaysOf(previous.networks, previous.subnets);
  return {
    ...overlaysOf(networksOf(config.ranges), subnets),
    masquerade: ipMasq,
    forward: forwardRules,
    randomFully,
    arriveBy: inboundDevicesOf(intent),
    dockerMark,
    ...(familiesOf(before).length > 0 && { previous: before }),
  };
}

/** Of each family that has both. */
export function overlaysOf(networks: PerFamily<Prefix4, Prefix6>, subnets: Subnets): Overlays {
  const { v4, v6 } = networks;
  return {
    ...(v4 !== undefined && subnets.v4 !== undefined && { v4: { network: v4, subnet: subnets.v4 } }),
    ...(v6 !== undefined && subnets.v6 !== undefined && { v6: { network: v6, subnet: subnets.v6 } }),
  };
}

export const subnetFileOf = (
  { config, subnets, backend }: NetworkIntent,
  { ipMasq }: IntentOptions,
): SubnetFile => ({ networks: networksOf(config.ranges), subnets, mtu: backend.mtu, ipMasq });
