import { ETHERNET_BYTES, echoFrame, type InnerEcho, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import type { Ipv4 } from '#src/lib/ip.ts';
import type { FastPath, FastPeer } from '#src/state/object.ts';

/** As the fast path's: no port of a server. */
const SOURCE_PORT = 0x8000;

/** Where packets to a peer go outside. */
export const wireOf = ({ vtep }: Pick<FastPeer, 'vtep'>): Ipv4 => vtep;

/** The outer IPv4 packet, without a UDP checksum, that carries an echo request to a peer's VXLAN device. */
export function bareEcho(
  { vtep, mac, vni, port }: Pick<FastPath, 'vtep' | 'mac' | 'vni' | 'port'>,
  peer: Pick<FastPeer, 'vtep' | 'mac'>,
  echo: InnerEcho,
): Uint8Array {
  const frame = echoFrame({ to: peer.mac, from: mac }, echo);
  const outside = { source: vtep, destination: peer.vtep, sourcePort: SOURCE_PORT, port, vni, id: 0, ecn: 0 };
  return vxlanFrame(frame, outside).subarray(ETHERNET_BYTES);
}
