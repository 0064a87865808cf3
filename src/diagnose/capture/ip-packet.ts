import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';
import { type Ip, ipv4, ipv6 } from '#src/lib/ip.ts';

/** An IPv4 packet (RFC 791) or an IPv6 one (RFC 8200) without its header. */
export interface IpPacket {
  readonly kind: 'ip';
  readonly source: Ip;
  readonly destination: Ip;
  /** 1 is ICMP, 6 TCP, 17 UDP, 58 ICMPv6. */
  readonly protocol: number;
  readonly ttl: number;
  /** Absent for a packet that is whole. */
  readonly fragment?: Fragment;
  /** As the header says, header included. */
  readonly length: number;
  /** Bytes of the payload as the header says; `payload` has fewer where the frame is cut. */
  readonly payloadLength: number;
  readonly payload: Uint8Array;
}

export interface Fragment {
  readonly id: number;
  /** Bytes of payload before it. */
  readonly offset: number;
  /** Others come behind it. */
  readonly more: boolean;
}

const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
/** Extension headers of RFC 8200 that come before the payload, all with their length in units of 8 bytes. */
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const MOST_EXTENSIONS = 8;

export function decodeIp(bytes: Uint8Array): IpPacket | Unreadable {
  const version = (bytes[0] ?? 0) >> 4;
  if (bytes.length === 0) return unreadable('IP header cut short');
  if (version === 4) return decodeIpv4(bytes);
  if (version === 6) return decodeIpv6(bytes);
  return unreadable(`IP version ${version}`);
}

function decodeIpv4(bytes: Uint8Array): IpPacket | Unreadable {
  const headerLength = ((bytes[0] ?? 0) & 15) * 4;
  if (headerLength < IPV4_BYTES) return unreadable(`IPv4 header of ${headerLength} bytes`);
  if (bytes.length < headerLength) return unreadable('IPv4 header cut short');
  const view = viewOf(bytes);
  // 0 stands for what is too long to be written: a packet that the network card is still to cut into pieces.
  const length = view.getUint16(2) || bytes.length;
  if (length < headerLength) return unreadable(`IPv4 packet of ${length} bytes`);
  const flags = view.getUint16(6);
  const isFragment = (flags & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0;
  return {
    kind: 'ip',
    source: ipv4(view.getUint32(12)),
    destination: ipv4(view.getUint32(16)),
    protocol: view.getUint8(9),
    ttl: view.getUint8(8),
    ...(isFragment && {
      fragment: {
        id: view.getUint16(4),
        offset: (flags & FRAGMENT_OFFSET) * 8,
        more: (flags & MORE_FRAGMENTS) !== 0,
      },
    }),
    length,
    payloadLength: length - headerLength,
    // Ethernet fills short frames up.
    payload: bytes.subarray(headerLength, length),
  };
}

function decodeIpv6(bytes: Uint8Array): IpPacket | Unreadable {
  if (bytes.length < IPV6_BYTES) return unreadable('IPv6 header cut short');
  const view = viewOf(bytes);
  // 0 is a jumbogram, or as above.
  const length = IPV6_BYTES + (view.getUint16(4) || bytes.length - IPV6_BYTES);
  let protocol = view.getUint8(6);
  let at = IPV6_BYTES;
  let fragment: Fragment | undefined;
  for (let count = 0; count < MOST_EXTENSIONS && isExtension(protocol); count++) {
    if (fragment !== undefined && fragment.offset > 0) break;
    const size = protocol === FRAGMENT ? 8 : ((bytes[at + 1] ?? 0) + 1) * 8;
    if (at + size > Math.min(bytes.length, length)) return unreadable('IPv6 extension header cut short');
    if (protocol === FRAGMENT) {
      const offset = view.getUint16(at + 2);
      fragment = { id: view.getUint32(at + 4), offset: offset & 0xfff8, more: (offset & 1) !== 0 };
    }
    protocol = view.getUint8(at);
    at += size;
  }
  return {
    kind: 'ip',
    source: ipv6((view.getBigUint64(8) << 64n) | view.getBigUint64(16)),
    destination: ipv6((view.getBigUint64(24) << 64n) | view.getBigUint64(32)),
    protocol,
    ttl: view.getUint8(7),
    ...(fragment !== undefined && { fragment }),
    length,
    payloadLength: length - at,
    payload: bytes.subarray(at, length),
  };
}

const isExtension = (protocol: number): boolean =>
  [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS].includes(protocol);
