import { formatIpv4, ipv4 } from '#src/lib/ip.ts';

/** One VXLAN packet of IPv4 in IPv4 taken apart (RFC 7348 §5), outermost layer first. */
export interface VxlanFrame {
  readonly outerEthernet: { readonly destination: string; readonly source: string };
  readonly outerIp: { readonly source: string; readonly destination: string };
  readonly udp: { readonly sourcePort: number; readonly destinationPort: number };
  readonly vxlan: { readonly flags: number; readonly vni: number };
  readonly innerEthernet: { readonly destination: string; readonly source: string };
  readonly innerIp: {
    readonly source: string;
    readonly destination: string;
    /** 1 is ICMP, 6 TCP, 17 UDP. */
    readonly protocol: number;
    readonly length: number;
  };
  /** Bytes from the first to the last, and those of them that are the wrapper: 50. */
  readonly length: number;
  readonly overhead: number;
}

const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_UDP = 17;
const ETHERNET_LENGTH = 14;
const UDP_LENGTH = 8;
const VXLAN_LENGTH = 8;

/** Reads a frame from its outer Ethernet header on; `undefined` when it is anything else than the above. */
export function decodeVxlan(frame: Buffer): VxlanFrame | undefined {
  const outer = decodeIp(frame);
  if (outer === undefined || outer.protocol !== PROTOCOL_UDP) return undefined;
  const { payload: udp } = outer;
  if (udp.length < UDP_LENGTH + VXLAN_LENGTH) return undefined;
  const vxlan = udp.subarray(UDP_LENGTH);
  const innerFrame = vxlan.subarray(VXLAN_LENGTH);
  const inner = decodeIp(innerFrame);
  if (inner === undefined) return undefined;
  const { source, destination, protocol, length } = inner;
  return {
    outerEthernet: macsOf(frame),
    outerIp: { source: outer.source, destination: outer.destination },
    udp: { sourcePort: udp.readUInt16BE(0), destinationPort: udp.readUInt16BE(2) },
    vxlan: { flags: vxlan.readUInt8(0), vni: vxlan.readUIntBE(4, 3) },
    innerEthernet: macsOf(innerFrame),
    innerIp: { source, destination, protocol, length },
    length: frame.length,
    overhead: frame.length - innerFrame.length,
  };
}

function decodeIp(frame: Buffer) {
  if (frame.length < ETHERNET_LENGTH + 20 || frame.readUInt16BE(12) !== ETHERTYPE_IPV4) return undefined;
  const packet = frame.subarray(ETHERNET_LENGTH);
  const headerLength = (packet.readUInt8(0) & 15) * 4;
  return {
    source: formatIpv4(ipv4(packet.readUInt32BE(12))),
    destination: formatIpv4(ipv4(packet.readUInt32BE(16))),
    protocol: packet.readUInt8(9),
    length: packet.readUInt16BE(2),
    payload: packet.subarray(headerLength),
  };
}

const macsOf = (frame: Buffer) => ({ destination: macAt(frame, 0), source: macAt(frame, 6) });

const macAt = (frame: Buffer, offset: number): string =>
  frame.toString('hex', offset, offset + 6).replace(/..(?!$)/g, '$&:');
