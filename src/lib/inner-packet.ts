import type { Ipv4 } from '#src/lib/ip.ts';

/*
 * IPv4 packets (RFC 791) as a tunnel that is no device of the kernel's hands them on: flannel's udp backend (v0.9.1 and HEAD,
 * backend/udp/proxy_amd64.c) in its rules. Nothing is trusted: a packet may be a stranger's.
 */

const HEADER_BYTES = 20;
const ICMP = 1;
const ICMP_HEADER_BYTES = 8;
/** flannel's choice. */
const ICMP_TTL = 8;
const NET_UNREACHABLE = { type: 3, code: 0 };

/** The destination of an IPv4 packet; `undefined` when it is none. */
export function destinationOf(packet: Uint8Array): Ipv4 | undefined {
  return isPacket(packet) ? (wordAt(packet, 16) as Ipv4) : undefined;
}

const isPacket = (packet: Uint8Array): boolean =>
  packet.length >= HEADER_BYTES &&
  (packet[0] ?? 0) >> 4 === 4 &&
  headerBytes(packet) >= HEADER_BYTES &&
  headerBytes(packet) <= packet.length;

const headerBytes = (packet: Uint8Array): number => ((packet[0] ?? 0) & 15) * 4;

/** Takes one from the packet's TTL, in place. False when none is left: the packet goes no further. */
export function age(packet: Uint8Array): boolean {
  const ttl = packet[8] ?? 0;
  if (ttl <= 1) return false;
  packet[8] = ttl - 1;
  // RFC 1624: the checksum's complement falls by what the header's sum falls.
  const sum = ((packet[10] ?? 0) << 8) + (packet[11] ?? 0) + 0x100;
  const folded = (sum & 0xffff) + (sum >> 16);
  packet[10] = folded >> 8;
  packet[11] = folded & 0xff;
  return true;
}

/**
 * The ICMP "net unreachable" that answers a packet (RFC 792). Its source is the address that can't be reached: flannel takes that of
 * the TUN device, which is the host's own, and the kernel drops what comes in from itself. `undefined` for ICMP and for fragments
 * that are not the first, which get none.
 */
export function netUnreachable(packet: Uint8Array): Uint8Array | undefined {
  const fragment = (((packet[6] ?? 0) & 0x1f) << 8) | (packet[7] ?? 0);
  if (!isPacket(packet) || packet[9] === ICMP || fragment !== 0) return undefined;
  const quoted = packet.subarray(0, headerBytes(packet) + 8);
  const reply = new Uint8Array(HEADER_BYTES + ICMP_HEADER_BYTES + quoted.length);
  const view = new DataView(reply.buffer);
  reply[0] = 0x45;
  view.setUint16(2, reply.length);
  reply[8] = ICMP_TTL;
  reply[9] = ICMP;
  reply.set(packet.subarray(16, 20), 12);
  reply.set(packet.subarray(12, 16), 16);
  view.setUint16(10, checksumOf(reply, 0, HEADER_BYTES));
  reply[HEADER_BYTES] = NET_UNREACHABLE.type;
  reply[HEADER_BYTES + 1] = NET_UNREACHABLE.code;
  reply.set(quoted, HEADER_BYTES + ICMP_HEADER_BYTES);
  view.setUint16(HEADER_BYTES + 2, checksumOf(reply, HEADER_BYTES, reply.length));
  return reply;
}

/** RFC 1071, of bytes whose own checksum is 0 or right. A header that is right gives 0. */
export function checksumOf(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2)
    sum += ((bytes[at] ?? 0) << 8) + (at + 1 < end ? (bytes[at + 1] ?? 0) : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const wordAt = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] ?? 0) << 24) |
    ((bytes[at + 1] ?? 0) << 16) |
    ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>>
  0;
