import type { Prefix } from '#src/lib/ip.ts';
import type { Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/**
 * A way to carry packets between hosts: pure functions from leases to wanted kernel state. A backend never asks
 * the machine anything; what it has to know of it comes in when it is made.
 */
export interface Backend {
  /** As the network config and the leases name it. */
  readonly type: string;
  /** The devices it makes; whatever is on them is ours. */
  readonly devices: readonly string[];
  /** Bytes of payload that containers may use: FLANNEL_MTU. */
  readonly mtu: number;
  /** Whether {@link PeerPath.lookup} is wanted: it costs a question to the kernel for each peer. */
  readonly needsLookup: boolean;
  /** What the node publishes in its lease beside its addresses. */
  readonly published: Pick<LeaseAttributes, 'backendType' | 'backendData' | 'backendV6Data'>;

  /** What the node needs once, whoever its peers are. */
  ownObjects(subnets: Subnets): readonly KernelObject[];

  /** What one peer needs. Called only for leases that {@link judge} accepts. */
  peerObjects(lease: Lease, path: PeerPath): readonly KernelObject[];

  /** Why what a peer published can't be used with this backend; `undefined` when it can. */
  judge(attributes: LeaseAttributes): string | undefined;

  /** A key that no two peers may share, such as the VTEP MAC; `undefined` when the backend has none. */
  identityOf(attributes: LeaseAttributes): string | undefined;

  /** Whether an object was made by this backend, or by a flannel before us, judged by its shape alone. */
  owns(object: KernelObject): boolean;
}

/** What is known of the way to a peer when its state is planned. */
export interface PeerPath {
  /** The kernel's route to the peer's public address; only looked up for backends that ask for it. */
  readonly lookup?: RouteLookup;
  readonly routeForm: RouteForm;
}

/**
 * `flannel`: `ip route` prints exactly what flannel's would. `linear`: each route has a metric of its own, because the
 * kernel keeps all routes that differ only in their gateway in one hash chain (fib_info_hashfn, net/ipv4/fib_semantics.c),
 * so that adding n of them takes n² steps: 37 s for 50,000 against 0.5 s.
 */
export type RouteForm = 'flannel' | 'linear';

/** The metric of a subnet's route: its number within the network, from 1. 0 is no metric. */
export function routeMetric(form: RouteForm, network: Prefix, subnet: Prefix): number {
  if (form === 'flannel') return 0;
  if (network.family === 4 && subnet.family === 4) {
    return Math.floor((subnet.address - network.address) / 2 ** (32 - subnet.length)) + 1;
  }
  if (network.family === 6 && subnet.family === 6) {
    // More than 2^31 subnets share metrics; a chain is then a few routes long.
    const number = (subnet.address - network.address) >> BigInt(128 - subnet.length);
    return Number(number % 0x7fff_ffffn) + 1;
  }
  return 0;
}
