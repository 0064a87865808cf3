import { endianness } from 'node:os';
import { BPF_LD_H_ABS, BPF_LD_W_ABS, type BpfInstructions, BpfProgram } from '#src/sys/bpf-program.ts';

/** Which messages a netlink socket leaves out. */
export interface Mute {
  /** nlmsg_pid of another socket of ours: messages of the `types` that its own requests caused are left out. */
  readonly port: number;
  readonly types: readonly number[];
  /** Messages of these types are left out where they are about one of these devices, by any cause. */
  readonly devices?: { readonly types: readonly number[]; readonly indexes: readonly number[] };
}

/** More devices would not fit into BPF's 8-bit jumps; the others are heard. */
export const MOST_MUTED_DEVICES = 64;

/**
 * Classic BPF for a netlink socket (socket(7), SO_ATTACH_FILTER): drops what {@link Mute} says. Messages about a device
 * have struct ndmsg (linux/neighbour.h) or another one with the ifindex at the same place. Loads are in network order,
 * netlink is not.
 */
export function muteFilter({ port, types, devices }: Mute): BpfInstructions {
  const program = new BpfProgram<Label>();
  const indexes = devices?.indexes.slice(0, MOST_MUTED_DEVICES) ?? [];
  if (devices !== undefined && indexes.length > 0) {
    program.load(BPF_LD_H_ABS, NLMSG_TYPE);
    for (const type of devices.types) program.jumpIf(networkOrder16(type), 'device');
    program.jump('echo');
    program.label('device');
    program.load(BPF_LD_W_ABS, NDM_IFINDEX);
    for (const index of indexes) program.jumpIf(networkOrder32(index), 'drop');
  }
  program.label('echo');
  program.load(BPF_LD_W_ABS, NLMSG_PID);
  program.jumpIf(networkOrder32(port), 'ours');
  program.jump('accept');
  program.label('ours');
  program.load(BPF_LD_H_ABS, NLMSG_TYPE);
  for (const type of types) program.jumpIf(networkOrder16(type), 'drop');
  program.label('accept');
  program.return(ACCEPT);
  program.label('drop');
  program.return(DROP);
  return program.assemble();
}

const LITTLE_ENDIAN = endianness() === 'LE';
const ACCEPT = 0xffffffff;
const DROP = 0;
/** Offsets in struct nlmsghdr. */
const NLMSG_TYPE = 4;
const NLMSG_PID = 12;
/** struct nlmsghdr, then u8 family, u8 and u16 of padding. */
const NDM_IFINDEX = 20;

type Label = 'device' | 'echo' | 'ours' | 'accept' | 'drop';

const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
const swap32 = (value: number): number => ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0;
const networkOrder16 = (value: number): number => (LITTLE_ENDIAN ? swap16(value) : value);
const networkOrder32 = (value: number): number => (LITTLE_ENDIAN ? swap32(value) : value);
