import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';
/** linux/filter.h: struct sock_filter { u16 code; u8 jt; u8 jf; u32 k } */
const BPF_INSTRUCTION = 8;
const BPF_LD_H_ABS = 0x28;
const BPF_LD_W_ABS = 0x20;
const BPF_JEQ_K = 0x15;
const BPF_RET_K = 0x06;
const ACCEPT = 0xffffffff;
const DROP = 0;
/** Offsets in struct nlmsghdr. */
const NLMSG_TYPE = 4;
const NLMSG_PID = 12;

/**
 * Classic BPF for a netlink socket (socket(7), SO_ATTACH_FILTER): drops a message whose sender is `port` and whose type is among `types`. Loads are in network
 * order, netlink is not.
 */
export function muteFilter(
  port: number,
  types: readonly number[],
): { readonly instructions: Uint8Array; readonly count: number } {
  const filter = new DataView(new ArrayBuffer((types.length + 5) * BPF_INSTRUCTION));
  let at = 0;
  const add = (code: number, whenTrue: number, whenFalse: number, k: number) => {
    filter.setUint16(at, code, LITTLE_ENDIAN);
    filter.setUint8(at + 2, whenTrue);
    filter.setUint8(at + 3, whenFalse);
    filter.setUint32(at + 4, k, LITTLE_ENDIAN);
    at += BPF_INSTRUCTION;
  };
  add(BPF_LD_W_ABS, 0, 0, NLMSG_PID);
  add(BPF_JEQ_K, 0, types.length + 1, LITTLE_ENDIAN ? swap32(port) : port);
  add(BPF_LD_H_ABS, 0, 0, NLMSG_TYPE);
  for (const [index, type] of types.entries())
    add(BPF_JEQ_K, types.length - index, 0, LITTLE_ENDIAN ? swap16(type) : type);
  add(BPF_RET_K, 0, 0, ACCEPT);
  add(BPF_RET_K, 0, 0, DROP);
  return { instructions: new Uint8Array(filter.buffer), count: at / BPF_INSTRUCTION };
}

const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
const swap32 = (value: number): number => ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0;
