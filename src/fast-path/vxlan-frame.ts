import { checksumOf } from '#src/lib/inner-packet.ts';
import type { Ipv4 } from '#src/lib/ip.ts';
import { type Mac, macToBytes } from '#src/lib/mac.ts';

/** Bytes of an Ethernet header, and of what flannel's wire has in front of an inner frame: Ethernet, IPv4, UDP, VXLAN. */
export const ETHERNET_BYTES = 14;
export const IPV4_BYTES = 20;
const UDP_BYTES = 8;
export const OUTER_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + 8;
/** Of an inner packet's IP header on the wire. */
export const INNER_IP = OUTER_BYTES + ETHERNET_BYTES;

/** What goes into an outer header. */
export interface Outside {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly sourcePort: number;
  readonly port: number;
  readonly vni: number;
  /** Identification of the outer IP header. */
  readonly id: number;
  /** ECN bits of the outer header. */
  readonly ecn: number;
}

/**
 * An inner frame as the fast path puts it onto the wire (RFC 7348): flannel's, but for a UDP checksum of 0 and the source port's
 * range. The outer MACs are 0: the kernel writes them.
 */
export function vxlanFrame(frame: Uint8Array, outside: Outside): Uint8Array {
  const bytes = new Uint8Array(OUTER_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  writeIpv4(bytes, { protocol: UDP, ...outside });
  view.setUint16(34, outside.sourcePort);
  view.setUint16(36, outside.port);
  view.setUint16(38, bytes.length - ETHERNET_BYTES - IPV4_BYTES);
  view.setUint32(42, HAS_VNI);
  view.setUint32(46, outside.vni << 8);
  bytes.set(frame, OUTER_BYTES);
  return bytes;
}

/** What the kernel chose in a frame that the fast path made: everything else is known before. */
export function chosenIn(frame: Uint8Array): { readonly id: number; readonly sourcePort: number } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  return { id: view.getUint16(18), sourcePort: view.getUint16(34) };
}

/** The ECN bits of an outer header (RFC 6040, normal mode): congestion stays inside. */
export const outerEcn = (inner: number): number => (inner === ECN_CE ? ECN_ECT0 : inner);

/** The frame with other MACs in front, and its packet one hop further. */
export function hopped(frame: Uint8Array, macs: { readonly to: Mac; readonly from?: Mac }): Uint8Array {
  const bytes = Uint8Array.from(frame);
  bytes.set(macToBytes(macs.to), 0);
  if (macs.from !== undefined) bytes.set(macToBytes(macs.from), 6);
  takeHop(bytes, ETHERNET_BYTES);
  return bytes;
}

/** One from the TTL of an IPv4 header, and its checksum as the kernel's ip_decrease_ttl corrects it. */
function takeHop(bytes: Uint8Array, at: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const sum = view.getUint16(at + 10, true) + 1;
  view.setUint16(at + 10, sum + (sum >= 0xffff ? 1 : 0), true);
  view.setUint8(at + 8, view.getUint8(at + 8) - 1);
}

/** An inner packet of UDP as a container's frame: for a look at what the programs do. */
export function udpFrame(
  flow: {
    readonly source: Ipv4;
    readonly destination: Ipv4;
    readonly sourcePort: number;
    readonly destinationPort: number;
  },
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  writeIpv4(bytes, { protocol: UDP, ...flow });
  view.setUint16(34, flow.sourcePort);
  view.setUint16(36, flow.destinationPort);
  view.setUint16(38, UDP_BYTES + payload.length);
  bytes.set(payload, 42);
  return bytes;
}

/** An ICMP echo request inside. Identifier and sequence number have 16 bits. */
export interface InnerEcho {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly identifier: number;
  readonly sequence: number;
}

/** An ICMP echo request without data, as a frame from one VTEP to another (RFC 792). */
export function echoFrame(macs: { readonly to: Mac; readonly from: Mac }, echo: InnerEcho): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_BYTES + IPV4_BYTES + ICMP_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(macToBytes(macs.to), 0);
  bytes.set(macToBytes(macs.from), 6);
  writeIpv4(bytes, { protocol: ICMP, ...echo });
  const icmp = ETHERNET_BYTES + IPV4_BYTES;
  view.setUint8(icmp, ECHO_REQUEST);
  view.setUint16(icmp + 4, echo.identifier);
  view.setUint16(icmp + 6, echo.sequence);
  view.setUint16(icmp + 2, checksumOf(bytes, icmp, bytes.length));
  return bytes;
}

/** The type of a frame that has one IPv4 packet to its end, and that packet's header, without options. */
function writeIpv4(
  frame: Uint8Array,
  header: {
    readonly protocol: number;
    readonly source: Ipv4;
    readonly destination: Ipv4;
    readonly ecn?: number;
    readonly id?: number;
  },
): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  view.setUint16(12, ETHERTYPE_IPV4);
  view.setUint8(14, 0x45);
  view.setUint8(15, header.ecn ?? 0);
  view.setUint16(16, frame.length - ETHERNET_BYTES);
  view.setUint16(18, header.id ?? 0);
  view.setUint8(22, TTL);
  view.setUint8(23, header.protocol);
  view.setUint32(26, header.source);
  view.setUint32(30, header.destination);
  view.setUint16(24, checksumOf(frame, ETHERNET_BYTES, ETHERNET_BYTES + IPV4_BYTES));
}

const ETHERTYPE_IPV4 = 0x0800;
const ICMP = 1;
const ICMP_BYTES = 8;
const ECHO_REQUEST = 8;
const TTL = 64;
const UDP = 17;
/** The I bit of the VXLAN header. */
const HAS_VNI = 0x08000000;
export const ECN_ECT0 = 2;
export const ECN_CE = 3;
