import type { Ip } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import {
  BPF_LD_H_ABS,
  BPF_LD_H_IND,
  BPF_LDX_B_MSH,
  type BpfInstructions,
  BpfProgram,
} from '#src/sys/bpf-program.ts';
import { ADDRESS_AT, readIpv4, readIpv6 } from '#src/sys/socket-address.ts';

/** For setsockopt(2). */
export interface SocketOption {
  readonly level: number;
  readonly name: number;
  readonly value: Uint8Array;
}

/** What raw sockets for echoes of one family differ in (RFC 792, RFC 4443). */
export interface IcmpForm {
  readonly protocol: number;
  readonly ipHeaderBytes: number;
  readonly echoRequest: number;
  readonly echoReply: number;
  /** No fragments, no regard for a known path MTU, echo replies only. `leaveBy`: the device by which packets leave, of IPv4 alone. */
  options(of: { readonly leaveBy: number | undefined }): readonly SocketOption[];
  /** Lets packets with this identifier through: replies to other programs' echoes would wake us. */
  filter(identifier: number): BpfInstructions;
  /** Where the ICMP header begins in what is received: a raw socket of IPv4 reads the IP header as well, one of IPv6 does not. */
  icmpAt(received: DataView): number;
  /** Of a socket address. */
  sender(address: DataView): Ip;
}

/** linux/in.h */
const IPPROTO_IP = 0;
const IPPROTO_ICMP = 1;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_PROBE = 3;
const IP_UNICAST_IF = 50;
const SOL_RAW = 255;
/** linux/icmp.h: the types whose bits are set are dropped. */
const ICMP_FILTER = 1;
const ICMP_ECHOREPLY = 0;
/** linux/in6.h */
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const IPV6_MTU_DISCOVER = 23;
const IPV6_PMTUDISC_PROBE = 3;
const IPV6_DONTFRAG = 62;
/** linux/icmpv6.h: 256 bits, one for each type; those that are set are dropped. */
const ICMPV6_FILTER = 1;
const ICMPV6_ECHO_REPLY = 129;
const IDENTIFIER_AT = 4;

const FORM4: IcmpForm = {
  protocol: IPPROTO_ICMP,
  ipHeaderBytes: 20,
  echoRequest: 8,
  echoReply: ICMP_ECHOREPLY,
  options: ({ leaveBy }) => [
    { level: IPPROTO_IP, name: IP_MTU_DISCOVER, value: nativeInt(IP_PMTUDISC_PROBE) },
    ...(leaveBy === undefined
      ? []
      : [{ level: IPPROTO_IP, name: IP_UNICAST_IF, value: networkInt(leaveBy) }]),
    { level: SOL_RAW, name: ICMP_FILTER, value: nativeInt(~(1 << ICMP_ECHOREPLY)) },
  ],
  filter(identifier) {
    const program = new BpfProgram<'ours'>();
    program.load(BPF_LDX_B_MSH, 0);
    program.load(BPF_LD_H_IND, IDENTIFIER_AT);
    return onlyThis(program, identifier);
  },
  icmpAt: (received) => (received.getUint8(0) & 0xf) * 4,
  sender: (address) => readIpv4(address, ADDRESS_AT.v4),
};

const FORM6: IcmpForm = {
  protocol: IPPROTO_ICMPV6,
  ipHeaderBytes: 40,
  echoRequest: 128,
  echoReply: ICMPV6_ECHO_REPLY,
  options: () => [
    { level: IPPROTO_IPV6, name: IPV6_MTU_DISCOVER, value: nativeInt(IPV6_PMTUDISC_PROBE) },
    // Without this the sender itself makes fragments, as IPv6 has it.
    { level: IPPROTO_IPV6, name: IPV6_DONTFRAG, value: nativeInt(1) },
    { level: IPPROTO_ICMPV6, name: ICMPV6_FILTER, value: allTypesBut(ICMPV6_ECHO_REPLY) },
  ],
  filter(identifier) {
    const program = new BpfProgram<'ours'>();
    program.load(BPF_LD_H_ABS, IDENTIFIER_AT);
    return onlyThis(program, identifier);
  },
  icmpAt: () => 0,
  sender: (address) => readIpv6(address, ADDRESS_AT.v6),
};

export const ICMP_FORMS: Required<PerFamily<IcmpForm>> = { v4: FORM4, v6: FORM6 };

function onlyThis(program: BpfProgram<'ours'>, identifier: number): BpfInstructions {
  program.jumpIf(identifier, 'ours');
  program.return(0);
  program.label('ours');
  program.return(0xffff_ffff);
  return program.assemble();
}

function allTypesBut(type: number): Uint8Array {
  const words = new Uint32Array(8).fill(0xffff_ffff);
  words[type >>> 5] = ~(1 << (type & 31));
  return new Uint8Array(words.buffer);
}

const networkInt = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

const nativeInt = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
