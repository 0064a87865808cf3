import { constants } from 'node:os';
import { errnoName, errnoText, SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';

/** linux/bpf.h: enum bpf_cmd. */
export const BPF = {
  MAP_CREATE: 0,
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  PROG_GET_FD_BY_ID: 13,
  MAP_GET_FD_BY_ID: 14,
  OBJ_GET_INFO_BY_FD: 15,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_DETACH: 34,
} as const;
export type BpfCommand = keyof typeof BPF;

/** More than any kernel's union bpf_attr: what it does not know has to be zero. */
const ATTRIBUTES = 160;
const LITTLE = true;
/** A load is interrupted by any signal, and tried again as libbpf does. */
const ATTEMPTS = 5;

/** One union bpf_attr. Offsets are those of linux/bpf.h. */
export class BpfCall {
  readonly #libc: Libc;
  readonly #bytes = new Uint8Array(new ArrayBuffer(ATTRIBUTES));
  readonly #view = new DataView(this.#bytes.buffer);
  /** What the pointers point to has to live as long. */
  readonly #held: Uint8Array[] = [];

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  u32(at: number, value: number): this {
    this.#view.setUint32(at, value, LITTLE);
    return this;
  }

  u64(at: number, value: bigint): this {
    this.#view.setBigUint64(at, value, LITTLE);
    return this;
  }

  /** A pointer to bytes, which the kernel may write to where they came from {@link kernelBytes}. */
  pointer(at: number, bytes: Uint8Array): this {
    // Small arrays may be V8's to move: what is pointed to has a place of its own.
    const fixed = isFixed(bytes) ? bytes : kernelBytes(bytes.length, bytes);
    this.#held.push(fixed);
    return this.u64(at, this.#libc.addressOf(fixed));
  }

  /** An object's name, of 15 characters at most. */
  name(at: number, name: string): this {
    this.#bytes.set(Buffer.from(name.slice(0, 15), 'latin1'), at);
    return this;
  }

  text(at: number, text: string): this {
    return this.pointer(at, Buffer.from(`${text}\0`));
  }

  readU32(at: number): number {
    return this.#view.getUint32(at, LITTLE);
  }

  /** The result, or the errno below zero. */
  try(command: BpfCommand): number {
    for (let attempt = 1; ; attempt++) {
      const result = this.#libc.bpf(BPF[command], this.#bytes, ATTRIBUTES);
      if (result >= 0) return result;
      const errno = this.#libc.errno();
      const isOver = errno !== constants.errno.EAGAIN && errno !== constants.errno.EINTR;
      if (isOver || attempt === ATTEMPTS) return -errno;
    }
  }

  /** Throws a {@link SystemError}. */
  run(command: BpfCommand): number {
    const result = this.try(command);
    if (result < 0) throw new SystemError(`bpf ${command}`, -result);
    return result;
  }
}

/** Zeroed bytes, or a copy, whose place in memory stays. */
export function kernelBytes(size: number, from?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(1, size)));
  if (from !== undefined) bytes.set(from);
  FIXED.add(bytes);
  return bytes;
}

const FIXED = new WeakSet<Uint8Array>();
const isFixed = (bytes: Uint8Array): boolean => FIXED.has(bytes);

export const isErrno = (result: number, name: keyof typeof constants.errno): boolean =>
  result === -constants.errno[name];

export const bpfError = (result: number): { readonly errno: string; readonly message: string } => ({
  errno: errnoName(-result),
  message: errnoText(-result),
});
