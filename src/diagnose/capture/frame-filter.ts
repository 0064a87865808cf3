import type { Packet } from '#src/diagnose/capture/packet.ts';
import { containsAddress, type Ip, type Prefix } from '#src/lib/ip.ts';

/** Which frames are shown. Each list that has entries must have one that fits. */
export interface FrameFilter {
  /** Inner senders and receivers. ARP and Neighbor Discovery count for whom they ask about. */
  readonly containers: readonly Ip[];
  readonly peers: readonly PeerFilter[];
  readonly vnis: readonly number[];
  /** Where frames carry no VNI: networks whose packets count as overlay traffic. Empty: every packet does. */
  readonly networks: readonly Prefix[];
}

/** A host: by the outer addresses, or by the inner ones. */
export interface PeerFilter {
  readonly publicIp?: Ip;
  readonly subnet?: Prefix;
}

/** `own`: the network of the device that a frame without a tunnel passed. */
export function passesFilter(
  packet: Packet,
  { containers, peers, vnis, networks }: FrameFilter,
  own?: number,
): boolean {
  const seen = packet.inner ?? packet;
  const inside = addressesOf(seen);
  const vni = packet.vxlan?.kind === 'vxlan' ? packet.vxlan.vni : own;
  if (vnis.length > 0 && !(vni !== undefined && vnis.includes(vni))) return false;
  if (
    packet.vxlan === undefined &&
    own === undefined &&
    networks.length > 0 &&
    !isOfNetworks(packet, networks)
  )
    return false;
  if (containers.length > 0 && !inside.some((ip) => containers.includes(ip))) return false;
  if (peers.length === 0) return true;
  const outside = packet.inner === undefined ? [] : addressesOf(packet);
  return peers.some(
    ({ publicIp, subnet }) =>
      (publicIp !== undefined && [...outside, ...inside].includes(publicIp)) ||
      (subnet !== undefined && inside.some((ip) => containsAddress(subnet, ip))),
  );
}

/** Without a tunnel: the hosts themselves route it (host-gw), or it is an error about a packet in the tunnel, or a part of one. */
function isOfNetworks(packet: Packet, networks: readonly Prefix[]): boolean {
  if (addressesOf(packet).some((ip) => networks.some((network) => containsAddress(network, ip)))) return true;
  const { network, transport } = packet;
  if (network.kind !== 'ip') return network.kind === 'unreadable';
  return (
    (transport?.kind === 'icmp' && transport.quoted !== undefined) ||
    (network.fragment !== undefined && network.fragment.offset > 0 && network.protocol === 17)
  );
}

function addressesOf({ network, transport }: Packet): Ip[] {
  if (network.kind === 'arp') return [network.sender, network.target];
  if (network.kind !== 'ip') return [];
  const target = transport?.kind === 'icmp' ? transport.target : undefined;
  return [network.source, network.destination, ...(target === undefined ? [] : [target])];
}
