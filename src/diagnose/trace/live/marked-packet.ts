import type { Ipv4 } from '#src/lib/ip.ts';
import { BPF_LD_W_ABS, type BpfInstructions, BpfProgram } from '#src/sys/bpf-program.ts';

/** Bytes of the mark that a packet carries. */
export const TOKEN_BYTES = 16;

const IP_BYTES = 20;
const ICMP_BYTES = 8;
const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;
const PROTOCOL_ICMP = 1;
const TTL = 64;
const ETHERNET_BYTES = 14;
/** Outer Ethernet, IPv4 or IPv6, UDP and the tunnel's header. */
const WRAPPERS = [50, 70] as const;

/** An ICMP echo request whose payload is the token (RFC 792), with its IPv4 header; the kernel adds checksum and length. */
export function markedPacket(token: Uint8Array, from: Ipv4, to: Ipv4, sequence: number): Uint8Array {
  const bytes = new Uint8Array(IP_BYTES + ICMP_BYTES + token.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, bytes.length);
  view.setUint8(8, TTL);
  view.setUint8(9, PROTOCOL_ICMP);
  view.setUint32(12, from);
  view.setUint32(16, to);
  view.setUint8(IP_BYTES, ECHO_REQUEST);
  view.setUint16(IP_BYTES + 6, sequence);
  bytes.set(token, IP_BYTES + ICMP_BYTES);
  view.setUint16(IP_BYTES + 2, internetChecksum(bytes.subarray(IP_BYTES)));
  return bytes;
}

/** RFC 1071. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
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
  if (at < ETHERNET_BYTES + IP_BYTES + ICMP_BYTES) return undefined;
  const type = bytes[at - ICMP_BYTES];
  if (type !== ECHO_REQUEST && type !== ECHO_REPLY) return undefined;
  const wrapped = at >= WRAPPERS[0] + ETHERNET_BYTES + IP_BYTES + ICMP_BYTES;
  return { kind: type === ECHO_REQUEST ? 'request' : 'answer', wrapped };
}

/** Lets frames through whose token begins as this one does, where it is in plain and in wrapped frames without options. */
export function markedFilter(token: Uint8Array): BpfInstructions {
  const begin = new DataView(token.buffer, token.byteOffset).getUint32(0);
  const program = new BpfProgram<'whole'>();
  // A load beyond the frame's end drops it, and the plain ones are the shorter.
  for (const wrapper of [0, ...WRAPPERS]) {
    program.load(BPF_LD_W_ABS, wrapper + ETHERNET_BYTES + IP_BYTES + ICMP_BYTES);
    program.jumpIf(begin, 'whole');
  }
  program.return(0);
  program.label('whole');
  program.return(0xffff);
  return program.assemble();
}
