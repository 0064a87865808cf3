import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { BPF_LD_W_ABS, type BpfInstructions, BpfProgram } from '#src/sys/bpf-program.ts';
import { writeIp } from '#src/sys/socket-address.ts';

/** Bytes of the mark that a packet carries. */
export const TOKEN_BYTES = 16;

/** Of a header without options, and of IPv6. */
const IP_BYTES = { v4: 20, v6: 40 } as const;
const ICMP_BYTES = 8;
/** RFC 792, RFC 4443. */
const ECHO_REQUEST = { v4: 8, v6: 128 } as const;
const ECHO_REPLY = { v4: 0, v6: 129 } as const;
const PROTOCOL_ICMP = 1;
const PROTOCOL_ICMPV6 = 58;
const TTL = 64;
const ETHERNET_BYTES = 14;
/** Outer Ethernet, IPv4 or IPv6, UDP and the tunnel's header. */
const [WRAPPER4, WRAPPER6] = [50, 70] as const;
/**
 * Where the token is in a plain frame of each family, and in a wrapped one, the nearest first. IPv4 in IPv6 and IPv6 in IPv4
 * have the same.
 */
const PLAIN = [ETHERNET_BYTES + IP_BYTES.v4 + ICMP_BYTES, ETHERNET_BYTES + IP_BYTES.v6 + ICMP_BYTES] as const;
const WRAPPED = [PLAIN[0] + WRAPPER4, PLAIN[0] + WRAPPER6, PLAIN[1] + WRAPPER6] as const;

/** An ICMP echo request whose payload is the token, with its IP header; of IPv4, the kernel adds the header's checksum. */
export function markedPacket(token: Uint8Array, from: Ip, to: Ip, sequence: number): Uint8Array {
  const family = isIpv4(from) ? 'v4' : 'v6';
  const begin = IP_BYTES[family];
  const bytes = new Uint8Array(begin + ICMP_BYTES + token.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(begin, ECHO_REQUEST[family]);
  view.setUint16(begin + 6, sequence);
  bytes.set(token, begin + ICMP_BYTES);
  const addresses = family === 'v4' ? writeHeader4(view, from, to) : writeHeader6(view, from, to);
  view.setUint16(begin + 2, internetChecksum(bytes.subarray(begin), addresses));
  return bytes;
}

/** Returns what goes into the checksum of ICMP beside the message: nothing. */
function writeHeader4(view: DataView, from: Ip, to: Ip): number {
  view.setUint8(0, 0x45);
  view.setUint16(2, view.byteLength);
  view.setUint8(8, TTL);
  view.setUint8(9, PROTOCOL_ICMP);
  writeIp(view, 12, from);
  writeIp(view, 16, to);
  return 0;
}

/** Returns the sum of the pseudo-header (RFC 8200 §8.1). */
function writeHeader6(view: DataView, from: Ip, to: Ip): number {
  const length = view.byteLength - IP_BYTES.v6;
  view.setUint8(0, 0x60);
  view.setUint16(4, length);
  view.setUint8(6, PROTOCOL_ICMPV6);
  view.setUint8(7, TTL);
  writeIp(view, 8, from);
  writeIp(view, 24, to);
  let sum = length + PROTOCOL_ICMPV6;
  for (let at = 8; at < IP_BYTES.v6; at += 2) sum += view.getUint16(at);
  return sum;
}

/** RFC 1071. `sum`: of what else goes into it. */
export function internetChecksum(bytes: Uint8Array, sum = 0): number {
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What a frame with the token is. */
export interface MarkedFrame {
  readonly kind: 'request' | 'answer';
  /** It is inside a packet of the hosts. */
  readonly wrapped: boolean;
}

/** Recognises a frame, from its Ethernet header on; `undefined` without the token. */
export function markedFrame(frame: Uint8Array, token: Uint8Array): MarkedFrame | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const at = bytes.indexOf(token);
  if (at < PLAIN[0]) return undefined;
  const type = bytes[at - ICMP_BYTES];
  const isRequest = type === ECHO_REQUEST.v4 || type === ECHO_REQUEST.v6;
  if (!isRequest && type !== ECHO_REPLY.v4 && type !== ECHO_REPLY.v6) return undefined;
  // The smallest wrapped packet has more before its token than the largest plain one.
  return { kind: isRequest ? 'request' : 'answer', wrapped: at >= WRAPPED[0] };
}

/** Lets frames through whose token begins as this one does, where it is in plain and in wrapped frames without options. */
export function markedFilter(token: Uint8Array): BpfInstructions {
  const begin = new DataView(token.buffer, token.byteOffset).getUint32(0);
  const program = new BpfProgram<'whole'>();
  // A load beyond the frame's end drops it, and of the shorter ones the token comes first.
  for (const at of [...PLAIN, ...WRAPPED]) {
    program.load(BPF_LD_W_ABS, at);
    program.jumpIf(begin, 'whole');
  }
  program.return(0);
  program.label('whole');
  program.return(0xffff);
  return program.assemble();
}
