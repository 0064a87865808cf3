import { containsPrefix, type Ip, type Prefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { type Route, RT_SCOPE_UNIVERSE, RTPROT_WEFT } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/**
 * To a peer's subnet through the peer itself, which is on a link of this host: `ip route replace DEST via VIA dev DEVICE
 * proto 87`. flannel's own (host-gw, DirectRouting) have protocol boot, which an operator's static routes have as well.
 */
export const directRoute = (destination: Prefix, via: Ip, device: string, metric: number): Route => ({
  kind: 'route',
  destination,
  type: 'unicast',
  via,
  device,
  onlink: false,
  metric,
  protocol: RTPROT_WEFT,
  scope: RT_SCOPE_UNIVERSE,
});

/**
 * Where direct routes of a network are. The underlay's routes are compared because another
 * program's may be in the slot of one; ours are known by their protocol on any device, because the
 * underlay may have been another one before.
 */
export function directScopes(
  underlay: string,
  { v4, v6 }: PerFamily<Prefix4, Prefix6>,
  ownDevices: readonly string[],
): readonly Scope[] {
  const networks = [v4, v6].filter((network) => network !== undefined);
  const owns: Scope['owns'] = (object) => {
    if (object.kind !== 'route' || object.type !== 'unicast' || object.protocol !== RTPROT_WEFT) return false;
    const { device, destination } = object;
    const isOnOwn = device !== undefined && ownDevices.includes(device);
    return !isOnOwn && networks.some((network) => containsPrefix(network, destination));
  };
  return [
    { kinds: ['route'], filter: { device: underlay }, owns },
    { kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns },
  ];
}
