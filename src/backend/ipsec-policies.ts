import type { BackendPlace } from '#src/backend/backend.ts';
import { containsPrefix, type Ipv4, ipv4, type Prefix, type Prefix4, prefix4 } from '#src/lib/ip.ts';
import type { EspTunnel, KernelObject, PolicyDirection, XfrmPolicy } from '#src/state/object.ts';

/** flannel's: one for all peers (HEAD, backend/ipsec/ipsec_network.go). */
export const REQUEST_ID = 11;

/** Priorities: of several policies for a packet the least counts. */
const [FLANNEL, LOCAL, NOTHING_PLAIN] = [0, 1, 2];

/** Both ends of a tunnel and what goes through it. */
export interface TunnelEnds {
  readonly own: { readonly subnet: Prefix4; readonly address: Ipv4 };
  readonly peer: { readonly subnet: Prefix4; readonly address: Ipv4 };
}

/** flannel's three policies for a peer: what goes to it, what comes from it for this host, and what comes for containers. */
export function peerPolicies({ own, peer }: TunnelEnds): XfrmPolicy[] {
  const tunnel = (from: Ipv4, to: Ipv4): EspTunnel => ({
    source: from,
    destination: to,
    requestId: REQUEST_ID,
  });
  const policy = (
    direction: PolicyDirection,
    from: TunnelEnds['own'],
    to: TunnelEnds['own'],
  ): XfrmPolicy => ({
    kind: 'xfrm-policy',
    direction,
    source: from.subnet,
    destination: to.subnet,
    action: 'allow',
    priority: FLANNEL,
    tunnel: tunnel(from.address, to.address),
  });
  return [policy('out', own, peer), policy('in', peer, own), policy('fwd', peer, own)];
}

const ANYWHERE = prefix4(ipv4(0), 0);

/**
 * What flannel has not: nothing leaves this host for the network as it is, neither to an address without a peer nor while the
 * policies of one are missing. What stays on this host is let through.
 */
export function plainPolicies(network: Prefix4, own: Prefix4): XfrmPolicy[] {
  const policy = (destination: Prefix4, action: XfrmPolicy['action'], priority: number): XfrmPolicy => ({
    kind: 'xfrm-policy',
    direction: 'out',
    source: ANYWHERE,
    destination,
    action,
    priority,
  });
  return [policy(own, 'allow', LOCAL), policy(network, 'block', NOTHING_PLAIN)];
}

/** Whether a policy is of this network, by its form: a flannel may have made it, or a weft before. */
export function isOfNetwork(object: KernelObject, network: BackendPlace['network']): boolean {
  const { v4 } = network;
  if (object.kind !== 'xfrm-policy' || v4 === undefined) return false;
  const { source, destination, action, tunnel, priority, direction, other } = object;
  const isInside = (prefix: Prefix): boolean => containsPrefix(v4, prefix);
  // charon gives numbers of its own, so that an operator's tunnel may have ours; its priorities are in the hundred thousands.
  if (tunnel !== undefined)
    return (
      tunnel.requestId === REQUEST_ID && priority === FLANNEL && isInside(source) && isInside(destination)
    );
  if (other !== undefined || direction !== 'out' || source.length !== 0 || !isInside(destination))
    return false;
  return priority === (action === 'block' ? NOTHING_PLAIN : LOCAL);
}
