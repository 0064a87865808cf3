import { viewOf } from '#src/diagnose/capture/bytes.ts';
import type { IpPacket } from '#src/diagnose/capture/ip-packet.ts';
import { isIpv4 } from '#src/lib/ip.ts';

const [ICMP, TCP, UDP, ICMPV6] = [1, 6, 17, 58];
const UDP_CHECKSUM = 6;

/**
 * Whether the transport's checksum (RFC 1071) is wrong, in a packet that is whole. Network cards with a faulty offload for
 * VXLAN send such packets: ICMP passes, whose checksum the kernel makes, and TCP does not.
 */
export function hasWrongChecksum(packet: IpPacket): boolean {
  const { protocol, payload, payloadLength, fragment } = packet;
  if (fragment !== undefined || payload.length < payloadLength || payload.length < 8) return false;
  if (protocol === ICMP) return folded(sumOf(payload)) !== 0xffff;
  if (protocol !== TCP && protocol !== UDP && protocol !== ICMPV6) return false;
  // Without a checksum: VXLAN's outer datagrams.
  if (protocol === UDP && viewOf(payload).getUint16(UDP_CHECKSUM) === 0) return false;
  return folded(sumOf(payload) + pseudoHeader(packet)) !== 0xffff;
}

function pseudoHeader({ source, destination, protocol, payloadLength }: IpPacket): number {
  let sum = protocol + (payloadLength & 0xffff) + (payloadLength >>> 16);
  for (const ip of [source, destination]) {
    if (isIpv4(ip)) sum += (ip >>> 16) + (ip & 0xffff);
    else for (let rest: bigint = ip; rest > 0n; rest >>= 16n) sum += Number(rest & 0xffffn);
  }
  return sum;
}

function sumOf(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  let sum = 0;
  const even = bytes.length & ~1;
  for (let at = 0; at < even; at += 2) sum += view.getUint16(at);
  return bytes.length > even ? sum + ((bytes[even] ?? 0) << 8) : sum;
}

function folded(sum: number): number {
  let rest = sum;
  while (rest > 0xffff) rest = Math.floor(rest / 0x10000) + (rest % 0x10000);
  return rest;
}
