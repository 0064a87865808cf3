import { readFileSync } from 'node:fs';
import { BpfCall, isErrno, kernelBytes } from '#src/sys/bpf-call.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';

/** What BPF_MAP_CREATE takes. */
export interface BpfMapShape {
  /** BPF_MAP_TYPE_* */
  readonly type: number;
  /** Bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_* */
  readonly flags: number;
}

export interface BpfEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Entries, one after the other. Keys and values may have room for more. */
export interface BpfEntries {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
}

export interface BpfMapInfo extends BpfMapShape {
  readonly id: number;
  readonly name: string;
}

export interface BpfProgramInfo {
  readonly id: number;
  /** A hash of the instructions, without the maps they use: 16 hexadecimal digits. */
  readonly tag: string;
  readonly name: string;
  readonly mapIds: readonly number[];
}

export interface BpfLinkInfo {
  readonly programId: number;
  /** Of a tcx link; 0 once the device is gone or the link was detached. */
  readonly ifindex: number;
}

/** What a run of a program on a made-up packet gives (BPF_PROG_TEST_RUN). */
export interface BpfRun {
  /** What the program returned: TC_ACT_*. */
  readonly result: number;
  readonly packet: Uint8Array;
  /** Of one run, on average, by the kernel's clock. */
  readonly nanoseconds: number;
}

/**
 * bpf(2): maps, programs and links, by file descriptor. All calls are synchronous and short, and throw a {@link SystemError} that names
 * the command. Root or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.
 */
export class Bpf {
  readonly #libc: Libc;
  readonly #namespace: string | undefined;

  private constructor(libc: Libc, namespace: string | undefined) {
    this.#libc = libc;
    this.#namespace = namespace;
  }

  /** `namespace`: the network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  static async open(namespace?: string): Promise<Bpf> {
    return new Bpf(await loadLibc(), namespace);
  }

  close(fd: number): void {
    this.#libc.close(fd);
  }

  createMap(name: string, { type, keySize, valueSize, maxEntries, flags }: BpfMapShape): number {
    return this.#call()
      .u32(0, type)
      .u32(4, keySize)
      .u32(8, valueSize)
      .u32(12, maxEntries)
      .u32(16, flags)
      .name(28, name)
      .run('MAP_CREATE');
  }

  update(fd: number, { key, value }: BpfEntry): void {
    this.#call().u32(0, fd).pointer(8, key).pointer(16, value).run('MAP_UPDATE_ELEM');
  }

  /** Many at once, all or up to the first that is refused: how many were written. */
  updateAll(fd: number, entries: readonly BpfEntry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    const [keySize, valueSize] = [first.key.length, first.value.length];
    const keys = kernelBytes(keySize * entries.length);
    const values = kernelBytes(valueSize * entries.length);
    for (const [index, { key, value }] of entries.entries()) {
      keys.set(key, index * keySize);
      values.set(value, index * valueSize);
    }
    const result = this.#call()
      .pointer(16, keys)
      .pointer(24, values)
      .u32(32, entries.length)
      .u32(36, fd)
      .try('MAP_UPDATE_BATCH');
    // A kernel without it for this type of map, or one entry that is refused: then one by one.
    if (result < 0) for (const entry of entries) this.update(fd, entry);
  }

  /** The value; `undefined` when there is none. Of a map for each processor the values of all, one after the other. */
  lookup(fd: number, key: Uint8Array, valueSize: number): Uint8Array | undefined {
    const value = kernelBytes(valueSize);
    const call = this.#call().u32(0, fd).pointer(8, key).pointer(16, value);
    const result = call.try('MAP_LOOKUP_ELEM');
    if (isErrno(result, 'ENOENT')) return undefined;
    if (result < 0) throw new SystemError('bpf MAP_LOOKUP_ELEM', -result);
    return value;
  }

  /** The sum of an entry's 64-bit numbers, one for each processor that the machine may have. */
  sumOfProcessors(fd: number, key: Uint8Array): number {
    const value = this.lookup(fd, key, 8 * possibleProcessors());
    if (value === undefined) return 0;
    const view = new DataView(value.buffer);
    let sum = 0n;
    for (let at = 0; at < view.byteLength; at += 8) sum += view.getBigUint64(at, true);
    return Number(sum);
  }

  /** Whether there was one. */
  delete(fd: number, key: Uint8Array): boolean {
    const result = this.#call().u32(0, fd).pointer(8, key).try('MAP_DELETE_ELEM');
    if (result < 0 && !isErrno(result, 'ENOENT')) throw new SystemError('bpf MAP_DELETE_ELEM', -result);
    return result >= 0;
  }

  /** What is in the map, some thousand entries at a time. While others change it, entries may be missing. */
  *chunks(fd: number, { keySize, valueSize, maxEntries }: BpfMapShape): Generator<BpfEntries> {
    const token = kernelBytes(Math.max(16, keySize));
    let room = Math.min(CHUNK, maxEntries);
    let isFirst = true;
    for (;;) {
      const [keys, values] = [kernelBytes(room * keySize), kernelBytes(room * valueSize)];
      const call = this.#call().pointer(8, token).pointer(16, keys).pointer(24, values);
      if (!isFirst) call.pointer(0, token);
      const result = call.u32(32, room).u32(36, fd).try('MAP_LOOKUP_BATCH');
      const count = call.readU32(32);
      if (isErrno(result, 'ENOSPC')) {
        room *= 2;
        continue;
      }
      const isEnd = isErrno(result, 'ENOENT');
      if (result < 0 && !isEnd) {
        if (!isFirst) throw new SystemError('bpf MAP_LOOKUP_BATCH', -result);
        yield* this.#oneByOne(fd, keySize, valueSize);
        return;
      }
      isFirst = false;
      if (count > 0) yield { count, keys, values };
      if (isEnd || count === 0) return;
    }
  }

  /** For a kernel that gives no many at once. */
  *#oneByOne(fd: number, keySize: number, valueSize: number): Generator<BpfEntries> {
    let key: Uint8Array | undefined;
    for (;;) {
      const next = kernelBytes(keySize);
      const call = this.#call().u32(0, fd).pointer(16, next);
      if (key !== undefined) call.pointer(8, key);
      const result = call.try('MAP_GET_NEXT_KEY');
      if (isErrno(result, 'ENOENT')) return;
      if (result < 0) throw new SystemError('bpf MAP_GET_NEXT_KEY', -result);
      key = next;
      const value = this.lookup(fd, key, valueSize);
      if (value !== undefined) yield { count: 1, keys: next, values: value };
    }
  }

  /**
   * A program of type BPF_PROG_TYPE_SCHED_CLS: for tcx and for a filter of tc. What the verifier refuses throws an
   * error whose message ends with the verifier's last words.
   */
  loadClassifier(name: string, code: Uint8Array, license: string): number {
    const call = this.#call()
      .u32(0, BPF_PROG_TYPE_SCHED_CLS)
      .u32(4, code.length / INSTRUCTION)
      .pointer(8, code)
      .text(16, license)
      .name(48, name);
    const result = call.try('PROG_LOAD');
    if (result >= 0) return result;
    const log = kernelBytes(LOG_BYTES);
    const again = call.u32(24, 1).u32(28, log.length).pointer(32, log).try('PROG_LOAD');
    if (again >= 0) return again;
    const error = new SystemError(`bpf PROG_LOAD ${name}`, -again);
    const words = lastWords(log);
    if (words !== '') error.message += `: ${words}`;
    throw error;
  }

  /**
   * Runs a program on a packet. The device is the namespace's loopback unless it is named by its ifindex. The second of many
   * runs gets what the first has made of the packet.
   */
  testRun(
    program: number,
    packet: Uint8Array,
    { ifindex = 0, ingressIfindex = 0, room = 256, repeat = 1 } = {},
  ): BpfRun {
    const out = kernelBytes(packet.length + room);
    const context = kernelBytes(SK_BUFF);
    const view = new DataView(context.buffer);
    view.setUint32(36, ingressIfindex, true);
    view.setUint32(40, ifindex, true);
    const call = this.#call()
      .u32(0, program)
      .u32(8, packet.length)
      .u32(12, out.length)
      .pointer(16, packet)
      .pointer(24, out)
      .u32(32, repeat)
      .u32(40, context.length)
      .pointer(48, context);
    this.#inside(() => call.run('PROG_TEST_RUN'));
    const made = out.subarray(0, call.readU32(12));
    return { result: call.readU32(4) | 0, packet: made, nanoseconds: call.readU32(36) };
  }

  /** Attaches a program to a device by tcx (Linux 6.6). The link ends with its last descriptor, or pin. */
  attachTcx(program: number, ifindex: number, direction: 'ingress' | 'egress'): number {
    const call = this.#call()
      .u32(0, program)
      .u32(4, ifindex)
      .u32(8, direction === 'ingress' ? BPF_TCX_INGRESS : BPF_TCX_EGRESS);
    return this.#inside(() => call.run('LINK_CREATE'));
  }

  /** Puts another program in the place of a link's, between two packets. */
  updateLink(link: number, program: number): void {
    this.#call().u32(0, link).u32(4, program).run('LINK_UPDATE');
  }

  /** Takes a link's program off its device. What holds the link has one without a device then. */
  detachLink(link: number): void {
    this.#call().u32(0, link).run('LINK_DETACH');
  }

  /** Gives an object a name in a bpffs, which keeps it. Names have no dots. */
  pin(fd: number, path: string): void {
    this.#call().text(0, path).u32(8, fd).run('OBJ_PIN');
  }

  openPin(path: string): number {
    return this.#call().text(0, path).run('OBJ_GET');
  }

  /** `undefined` when there is no such program (any more), and for a process without CAP_SYS_ADMIN. */
  programById(id: number): number | undefined {
    return this.#byId('PROG_GET_FD_BY_ID', id);
  }

  /** `undefined` when there is no such map (any more), and for a process without CAP_SYS_ADMIN. */
  mapById(id: number): number | undefined {
    return this.#byId('MAP_GET_FD_BY_ID', id);
  }

  mapInfo(fd: number): BpfMapInfo {
    const view = this.#info(fd);
    const word = (at: number) => view.getUint32(at, true);
    return {
      type: word(0),
      id: word(4),
      keySize: word(8),
      valueSize: word(12),
      maxEntries: word(16),
      flags: word(20),
      name: nameAt(view, 24),
    };
  }

  programInfo(fd: number): BpfProgramInfo {
    const ids = kernelBytes(4 * MOST_MAPS);
    const view = this.#info(fd, (info) => {
      info.setUint32(52, MOST_MAPS, true);
      info.setBigUint64(56, this.#libc.addressOf(ids), true);
    });
    const idsView = new DataView(ids.buffer);
    const count = Math.min(MOST_MAPS, view.getUint32(52, true));
    return {
      id: view.getUint32(4, true),
      tag: Buffer.from(view.buffer as ArrayBuffer, 8, 8).toString('hex'),
      name: nameAt(view, 64),
      mapIds: Array.from({ length: count }, (_, index) => idsView.getUint32(4 * index, true)),
    };
  }

  linkInfo(fd: number): BpfLinkInfo {
    const view = this.#info(fd);
    return { programId: view.getUint32(8, true), ifindex: view.getUint32(16, true) };
  }

  /** Another namespace never has the same number until the machine starts again (SO_NETNS_COOKIE, Linux 5.14). */
  namespaceCookie(): bigint {
    const fd = this.#inside(() => this.#libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
    if (fd < 0) throw new SystemError('socket', this.#libc.errno());
    try {
      const value = new Uint8Array(8);
      if (this.#libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, Int32Array.of(8)) < 0)
        throw new SystemError('SO_NETNS_COOKIE', this.#libc.errno());
      return new DataView(value.buffer).getBigUint64(0, true);
    } finally {
      this.#libc.close(fd);
    }
  }

  #byId(command: 'PROG_GET_FD_BY_ID' | 'MAP_GET_FD_BY_ID', id: number): number | undefined {
    const result = this.#call().u32(0, id).try(command);
    if (isErrno(result, 'ENOENT') || isErrno(result, 'EPERM')) return undefined;
    if (result < 0) throw new SystemError(`bpf ${command}`, -result);
    return result;
  }

  #info(fd: number, fill: (info: DataView) => void = () => {}): DataView {
    const info = kernelBytes(INFO_BYTES);
    const view = new DataView(info.buffer);
    fill(view);
    this.#call().u32(0, fd).u32(4, info.length).pointer(8, info).run('OBJ_GET_INFO_BY_FD');
    return view;
  }

  #inside<T>(work: () => T): T {
    return inNetworkNamespace(this.#libc, this.#namespace, work);
  }

  #call(): BpfCall {
    return new BpfCall(this.#libc);
  }
}

/** linux/bpf.h */
const BPF_PROG_TYPE_SCHED_CLS = 3;
const BPF_TCX_INGRESS = 46;
const BPF_TCX_EGRESS = 47;
const INSTRUCTION = 8;
/** Bytes of struct __sk_buff and, at least, of struct bpf_prog_info. */
const SK_BUFF = 192;
const INFO_BYTES = 256;
const MOST_MAPS = 16;
/** Entries that are read by one call: a millisecond's work, about. */
const CHUNK = 1024;
const LOG_BYTES = 1 << 20;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

let processors: number | undefined;

/** The kernel keeps room for these, whether they are there or not: `0-7`. */
function possibleProcessors(): number {
  if (processors === undefined) {
    const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
    processors = Number(text.split(/[-,]/).at(-1)) + 1;
  }
  return processors;
}

function nameAt(view: DataView, at: number): string {
  const bytes = Buffer.from(view.buffer as ArrayBuffer, at, 16);
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? 16 : end);
}

/** The verifier's reason comes last, before its figures. */
function lastWords(log: Uint8Array): string {
  const text = Buffer.from(log.buffer, 0, Math.max(0, log.indexOf(0))).toString('latin1');
  const lines = text
    .split('\n')
    .filter((line) => line !== '' && !/^(processed|verification|stack)/.test(line));
  return (lines.at(-1) ?? '').slice(0, 300);
}
