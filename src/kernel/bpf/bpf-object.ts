/** One program of an object: its instructions, and the maps that they name. */
export interface BpfSection {
  readonly code: Uint8Array;
  readonly relocations: readonly { readonly offset: number; readonly map: string }[];
}

/** What clang makes of a BPF program in C. */
export interface BpfObject {
  /** By the name after `tc/`. */
  readonly programs: ReadonlyMap<string, BpfSection>;
  readonly license: string;
}

/** elf.h */
const EM_BPF = 247;
const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_REL = 9;
const SYMBOL = 24;
const RELOCATION = 16;
/** The kernel's Documentation/bpf/llvm_reloc.rst */
const R_BPF_64_64 = 1;
/** linux/bpf.h: the source register's number that makes a load of 64 bits the load of a map. */
const BPF_PSEUDO_MAP_FD = 1;
const PROGRAM = 'tc/';

interface Section {
  readonly name: string;
  readonly type: number;
  readonly link: number;
  readonly info: number;
  readonly bytes: Buffer;
}

/** Reads a 64-bit little-endian ELF object (elf(5)). Throws a TypeError for anything else. */
export function readBpfObject(object: Uint8Array): BpfObject {
  const sections = sectionsOf(Buffer.from(object.buffer, object.byteOffset, object.length));
  const symbols = sections.find(({ type }) => type === SHT_SYMTAB);
  const names = sections[symbols?.link ?? 0];
  const symbolName = (index: number): string =>
    textAt(names?.bytes ?? EMPTY, symbols?.bytes.readUInt32LE(index * SYMBOL) ?? 0);
  const programs = new Map<string, BpfSection>();
  for (const [index, section] of sections.entries()) {
    if (section.type !== SHT_PROGBITS || !section.name.startsWith(PROGRAM)) continue;
    const relocations = sections
      .filter(({ type, info }) => type === SHT_REL && info === index)
      .flatMap(({ bytes }) => relocationsIn(bytes, symbolName));
    programs.set(section.name.slice(PROGRAM.length), { code: section.bytes, relocations });
  }
  const license = sections.find(({ name }) => name === 'license')?.bytes ?? EMPTY;
  return { programs, license: textAt(license, 0) };
}

/** The instructions with the maps' descriptors in their places. Throws a TypeError for a map that is not given. */
export function linkProgram(
  { code, relocations }: BpfSection,
  maps: Readonly<Record<string, number>>,
): Uint8Array {
  const linked = Buffer.from(code);
  for (const { offset, map } of relocations) {
    const fd = maps[map];
    if (fd === undefined) throw new TypeError(`the program uses a map ${map} that is not made`);
    linked.writeUInt8((linked.readUInt8(offset + 1) & 0x0f) | (BPF_PSEUDO_MAP_FD << 4), offset + 1);
    linked.writeInt32LE(fd, offset + 4);
  }
  return linked;
}

const EMPTY = Buffer.alloc(1);

function sectionsOf(file: Buffer): Section[] {
  const is64LittleEndian =
    file.length > 64 && file.readUInt32BE(0) === 0x7f454c46 && file.readUInt16BE(4) === 0x0201;
  if (!is64LittleEndian || file.readUInt16LE(18) !== EM_BPF) throw new TypeError('this is no BPF object');
  const start = Number(file.readBigUInt64LE(40));
  const [size, count, namesIndex] = [58, 60, 62].map((at) => file.readUInt16LE(at)) as [
    number,
    number,
    number,
  ];
  const headers = Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    const from = Number(file.readBigUInt64LE(at + 24));
    return {
      nameAt: file.readUInt32LE(at),
      type: file.readUInt32LE(at + 4),
      link: file.readUInt32LE(at + 40),
      info: file.readUInt32LE(at + 44),
      bytes: file.subarray(from, from + Number(file.readBigUInt64LE(at + 32))),
    };
  });
  const names = headers[namesIndex]?.bytes ?? EMPTY;
  return headers.map(({ nameAt, ...section }) => ({ ...section, name: textAt(names, nameAt) }));
}

function relocationsIn(
  bytes: Buffer,
  symbolName: (index: number) => string,
): { offset: number; map: string }[] {
  return Array.from({ length: bytes.length / RELOCATION }, (_, index) => {
    const at = index * RELOCATION;
    const map = symbolName(bytes.readUInt32LE(at + 12));
    if (bytes.readUInt32LE(at + 8) !== R_BPF_64_64)
      throw new TypeError(`the program calls ${map}, which is no map`);
    return { offset: Number(bytes.readBigUInt64LE(at)), map };
  });
}

function textAt(table: Buffer, at: number): string {
  const end = table.indexOf(0, at);
  return table.toString('latin1', at, end < 0 ? table.length : end);
}
