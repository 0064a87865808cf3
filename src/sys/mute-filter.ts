import { endianness } from 'node:os';

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
export function muteFilter({ port, types, devices }: Mute): {
  readonly instructions: Uint8Array;
  readonly count: number;
} {
  const program = new Program();
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
/** linux/filter.h: struct sock_filter { u16 code; u8 jt; u8 jf; u32 k } */
const BPF_INSTRUCTION = 8;
const BPF_LD_H_ABS = 0x28;
const BPF_LD_W_ABS = 0x20;
const BPF_JA = 0x05;
const BPF_JEQ_K = 0x15;
const BPF_RET_K = 0x06;
const ACCEPT = 0xffffffff;
const DROP = 0;
/** Offsets in struct nlmsghdr. */
const NLMSG_TYPE = 4;
const NLMSG_PID = 12;
/** struct nlmsghdr, then u8 family, u8 and u16 of padding. */
const NDM_IFINDEX = 20;

type Label = 'device' | 'echo' | 'ours' | 'accept' | 'drop';

/** Instructions whose jumps name where they go. BPF jumps forwards only. */
class Program {
  readonly #instructions: { readonly code: number; readonly k: number; readonly target?: Label }[] = [];
  readonly #labels = new Map<Label, number>();

  load(code: number, offset: number): void {
    this.#instructions.push({ code, k: offset });
  }

  jumpIf(k: number, target: Label): void {
    this.#instructions.push({ code: BPF_JEQ_K, k, target });
  }

  jump(target: Label): void {
    this.#instructions.push({ code: BPF_JA, k: 0, target });
  }

  return(k: number): void {
    this.#instructions.push({ code: BPF_RET_K, k });
  }

  /** The next instruction's name. */
  label(name: Label): void {
    this.#labels.set(name, this.#instructions.length);
  }

  assemble(): { readonly instructions: Uint8Array; readonly count: number } {
    const count = this.#instructions.length;
    const view = new DataView(new ArrayBuffer(count * BPF_INSTRUCTION));
    for (const [index, { code, k, target }] of this.#instructions.entries()) {
      const distance = target === undefined ? 0 : (this.#labels.get(target) ?? count) - index - 1;
      const at = index * BPF_INSTRUCTION;
      view.setUint16(at, code, LITTLE_ENDIAN);
      if (code === BPF_JEQ_K) view.setUint8(at + 2, distance);
      view.setUint32(at + 4, code === BPF_JA ? distance : k, LITTLE_ENDIAN);
    }
    return { instructions: new Uint8Array(view.buffer), count };
  }
}

const swap16 = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
const swap32 = (value: number): number => ((swap16(value & 0xffff) << 16) | swap16(value >>> 16)) >>> 0;
const networkOrder16 = (value: number): number => (LITTLE_ENDIAN ? swap16(value) : value);
const networkOrder32 = (value: number): number => (LITTLE_ENDIAN ? swap32(value) : value);
