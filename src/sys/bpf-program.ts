import { endianness } from 'node:os';

/** Classic BPF as SO_ATTACH_FILTER takes it (linux/filter.h). */
export interface BpfInstructions {
  readonly instructions: Uint8Array;
  readonly count: number;
}

const LITTLE_ENDIAN = endianness() === 'LE';
/** linux/filter.h: struct sock_filter { u16 code; u8 jt; u8 jf; u32 k } */
const BPF_INSTRUCTION = 8;
export const BPF_LD_W_ABS = 0x20;
export const BPF_LD_H_ABS = 0x28;
export const BPF_LD_B_ABS = 0x30;
/** The byte, halfword at X plus a constant. */
export const BPF_LD_H_IND = 0x48;
/** X becomes 4 × the low half of a byte: the length of an IPv4 header. */
export const BPF_LDX_B_MSH = 0xb1;
const BPF_AND_K = 0x54;
const BPF_JA = 0x05;
const BPF_JEQ_K = 0x15;
const BPF_JSET_K = 0x45;
const BPF_RET_K = 0x06;

/** Instructions whose jumps name where they go. BPF jumps forwards only, by 255 at most where it compares. */
export class BpfProgram<Label extends string> {
  readonly #instructions: { readonly code: number; readonly k: number; readonly target?: Label }[] = [];
  readonly #labels = new Map<Label, number>();

  /** One of the loads above. */
  load(code: number, offset: number): void {
    this.#instructions.push({ code, k: offset >>> 0 });
  }

  /** Keeps these bits of what was loaded. */
  and(bits: number): void {
    this.#instructions.push({ code: BPF_AND_K, k: bits });
  }

  jumpIf(k: number, target: Label): void {
    this.#instructions.push({ code: BPF_JEQ_K, k, target });
  }

  /** Where one of the bits is set. */
  jumpIfAny(bits: number, target: Label): void {
    this.#instructions.push({ code: BPF_JSET_K, k: bits, target });
  }

  jump(target: Label): void {
    this.#instructions.push({ code: BPF_JA, k: 0, target });
  }

  /** The number of bytes that are let through. */
  return(length: number): void {
    this.#instructions.push({ code: BPF_RET_K, k: length });
  }

  /** The next instruction's name. */
  label(name: Label): void {
    this.#labels.set(name, this.#instructions.length);
  }

  assemble(): BpfInstructions {
    const count = this.#instructions.length;
    const view = new DataView(new ArrayBuffer(count * BPF_INSTRUCTION));
    for (const [index, { code, k, target }] of this.#instructions.entries()) {
      const distance = target === undefined ? 0 : (this.#labels.get(target) ?? count) - index - 1;
      const at = index * BPF_INSTRUCTION;
      view.setUint16(at, code, LITTLE_ENDIAN);
      if (code === BPF_JEQ_K || code === BPF_JSET_K) view.setUint8(at + 2, distance);
      view.setUint32(at + 4, code === BPF_JA ? distance : k, LITTLE_ENDIAN);
    }
    return { instructions: new Uint8Array(view.buffer), count };
  }
}
