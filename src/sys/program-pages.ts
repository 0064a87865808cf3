import { closeSync, openSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { loadLibc } from '#src/sys/libc.ts';

/** A part of a file, in bytes: from the first to before the last. */
export interface FilePart {
  readonly from: number;
  readonly to: number;
}

/** A part of this process's memory. */
export interface MemoryPart {
  readonly address: bigint;
  readonly bytes: bigint;
}

const SELF = '/proc/self/exe';
const PAGE = 4096;
const MADV_DONTNEED = 4;

/**
 * Gives back the pages of the running executable, Node's own code and constants, and what a release carries. A third of it is
 * needed by a start alone. They are pages of a file, of which nothing was changed: what is needed again comes from the page
 * cache. madvise(2) with MADV_DONTNEED
 */
export async function forgetProgramPages(): Promise<void> {
  const libc = await loadLibc();
  const path = readlinkSync(SELF);
  const maps = readFileSync('/proc/self/maps', 'latin1');
  for (const { address, bytes } of unchangedParts(maps, path, writableParts(readProgramHeaders(SELF)))) {
    // What the kernel refuses stays.
    libc.madvise(address, bytes, MADV_DONTNEED);
  }
}

/** An ELF file's program headers (elf(5), 64 bits, little endian); a release has them at its end. */
function readProgramHeaders(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(64);
    readSync(file, head, 0, head.length, 0);
    const headers = Buffer.alloc(HEADER_BYTES * head.readUInt16LE(56));
    readSync(file, headers, 0, headers.length, Number(head.readBigUInt64LE(32)));
    return headers;
  } finally {
    closeSync(file);
  }
}

/** sizeof(Elf64_Phdr) */
const HEADER_BYTES = 56;
const PT_LOAD = 1;
const PF_W = 2;

/**
 * Where a file's data is that a process changes, by its program headers, in whole pages. The dynamic loader makes some of it
 * read-only when it has changed it.
 */
export function writableParts(headers: Buffer): FilePart[] {
  const parts: FilePart[] = [];
  for (let at = 0; at < headers.length; at += HEADER_BYTES) {
    if (headers.readUInt32LE(at) !== PT_LOAD || (headers.readUInt32LE(at + 4) & PF_W) === 0) continue;
    const offset = Number(headers.readBigUInt64LE(at + 8));
    const end = offset + Number(headers.readBigUInt64LE(at + 32));
    parts.push({ from: offset - (offset % PAGE), to: Math.ceil(end / PAGE) * PAGE });
  }
  return parts;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \S+ +(.*)$/gm;

/** Where the file is mapped as it is, by the text of /proc/PID/maps (proc_pid_maps(5)). */
export function unchangedParts(maps: string, path: string, writable: readonly FilePart[]): MemoryPart[] {
  const parts: MemoryPart[] = [];
  for (const [, start = '', end = '', access = '', offset = '', name] of maps.matchAll(MAPPING)) {
    if (name !== path || access.includes('w') || access.endsWith('s')) continue;
    const from = Number.parseInt(offset, 16);
    const address = BigInt(`0x${start}`);
    const to = from + Number(BigInt(`0x${end}`) - address);
    if (writable.some((part) => part.from <= from && from < part.to)) continue;
    const last = Math.min(to, ...writable.filter((part) => part.from > from).map((part) => part.from));
    parts.push({ address, bytes: BigInt(last - from) });
  }
  return parts;
}
