import { type ArpPacket, decodeArp } from '#src/diagnose/capture/arp.ts';
import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';
import { hasWrongChecksum } from '#src/diagnose/capture/checksum.ts';
import {
  decodeEthernet,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  type EthernetHeader,
} from '#src/diagnose/capture/ethernet.ts';
import { LINK_TYPES, type LinkType } from '#src/diagnose/capture/frame.ts';
import { decodeIcmp, type IcmpMessage } from '#src/diagnose/capture/icmp.ts';
import { decodeIp, type IpPacket } from '#src/diagnose/capture/ip-packet.ts';
import { decodeTcp, type TcpSegment } from '#src/diagnose/capture/tcp.ts';
import { decodeUdp, type UdpDatagram } from '#src/diagnose/capture/udp.ts';
import { decodeVxlan, type VxlanHeader } from '#src/diagnose/capture/vxlan.ts';
import { isIpv4 } from '#src/lib/ip.ts';

/** A frame taken apart, layer by layer. What can't be read is said in the place of the layer; nothing throws. */
export interface Packet {
  /** Absent where a device or a file has none. */
  readonly ethernet?: EthernetHeader;
  readonly network: IpPacket | ArpPacket | OtherType | Unreadable;
  /** In an IP packet: absent in a fragment that is not the first. */
  readonly transport?: TcpSegment | UdpDatagram | IcmpMessage | Unreadable;
  /** In a UDP datagram to a port of VXLAN. */
  readonly vxlan?: VxlanHeader | Unreadable;
  /** The frame in it. */
  readonly inner?: Packet;
  /** The transport's checksum is wrong: the receiver drops it. */
  readonly wrongChecksum?: boolean;
}

export interface OtherType {
  readonly kind: 'other';
  /** EtherType. */
  readonly type: number;
  readonly length: number;
}

export interface DecodeOptions {
  /** UDP destination ports at which hosts take VXLAN packets. */
  readonly ports: ReadonlySet<number>;
  /** Looks at checksums; for frames that have been on a wire. */
  readonly checksums?: boolean;
}

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;

export function decodePacket(bytes: Uint8Array, linkType: LinkType, options: DecodeOptions): Packet {
  switch (linkType) {
    case LINK_TYPES.ethernet:
      return decodeFrame(bytes, options);
    case LINK_TYPES.raw:
      return ofIp(bytes, options);
    case LINK_TYPES.linuxSll:
      return bytes.length < 16
        ? { network: unreadable('cooked header cut short') }
        : ofType(viewOf(bytes).getUint16(14), bytes.subarray(16), options);
    case LINK_TYPES.linuxSll2:
      return bytes.length < 20
        ? { network: unreadable('cooked header cut short') }
        : ofType(viewOf(bytes).getUint16(0), bytes.subarray(20), options);
  }
}

function decodeFrame(bytes: Uint8Array, options: DecodeOptions): Packet {
  const ethernet = decodeEthernet(bytes);
  if (ethernet.kind === 'unreadable') return { network: ethernet };
  return { ethernet, ...ofType(ethernet.type, ethernet.payload, options) };
}

function ofType(type: number, payload: Uint8Array, options: DecodeOptions): Packet {
  if (type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6) return ofIp(payload, options);
  if (type === ETHERTYPE_ARP) return { network: decodeArp(payload) };
  return { network: { kind: 'other', type, length: payload.length } };
}

function ofIp(bytes: Uint8Array, options: DecodeOptions): Packet {
  const network = decodeIp(bytes);
  if (network.kind === 'unreadable' || (network.fragment?.offset ?? 0) > 0) return { network };
  const transport = transportOf(network);
  if (transport === undefined) return { network };
  const wrong = options.checksums === true && hasWrongChecksum(network);
  const packet = { network, transport, ...(wrong && { wrongChecksum: true }) };
  if (transport.kind !== 'udp' || !options.ports.has(transport.destinationPort)) return packet;
  const vxlan = decodeVxlan(transport.payload);
  if (vxlan.kind === 'unreadable') return { ...packet, vxlan };
  // A tunnel in a tunnel is shown as the datagram that it is.
  return { ...packet, vxlan, inner: decodeFrame(vxlan.payload, { ...options, ports: NONE }) };
}

const NONE: ReadonlySet<number> = new Set();

function transportOf(packet: IpPacket): Packet['transport'] {
  const { protocol, payload, payloadLength, source } = packet;
  switch (protocol) {
    case TCP:
      return decodeTcp(payload, payloadLength);
    case UDP:
      return decodeUdp(payload);
    case ICMP:
      return decodeIcmp(payload, 4, payloadLength);
    case ICMPV6:
      return decodeIcmp(payload, isIpv4(source) ? 4 : 6, payloadLength);
    default:
      return undefined;
  }
}
