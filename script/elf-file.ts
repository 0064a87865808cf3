/** What a release changes in an executable of 64 bits, in the words of elf(5). */
const HEADER = { PHOFF: 32, SHOFF: 40, PHENTSIZE: 54, PHNUM: 56, SHENTSIZE: 58, SHNUM: 60, SHSTRNDX: 62 };
export const PT_LOAD = 1;
export const PT_NOTE = 4;
export const PT_PHDR = 6;
const SHT_DYNSYM = 11;
const SYMBOL_BYTES = 24;

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  /** Bytes in the file, and in memory. */
  readonly fileBytes: number;
  readonly bytes: number;
  readonly align: number;
}

/** Where a symbol's bytes are in the file. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}

/** A dynamic symbol, as `nm --dynamic --print-size` lists it. */
export function dynamicSymbol(file: Buffer, wanted: string): Place {
  const sections = readSections(file);
  const table = sections.find(({ type }) => type === SHT_DYNSYM);
  const names = sections[table?.link ?? -1];
  if (table === undefined || names === undefined) throw new Error('the executable has no dynamic symbols');
  for (let at = table.offset; at < table.offset + table.bytes; at += SYMBOL_BYTES) {
    const from = names.offset + file.readUInt32LE(at);
    const name = file.subarray(from, from + wanted.length + 1).toString('latin1');
    if (name !== `${wanted}\0`) continue;
    const address = number64(file, at + 8);
    const segment = readSegments(file).find(
      ({ type, address: begin, fileBytes }) =>
        type === PT_LOAD && begin <= address && address < begin + fileBytes,
    );
    if (segment === undefined) throw new Error(`${wanted} is in no loaded part of the executable`);
    return { offset: address - segment.address + segment.offset, bytes: number64(file, at + 16) };
  }
  throw new Error(`the executable has no ${wanted}`);
}

/** Where a byte of the file is in a process. */
export function addressOf(file: Buffer, at: number): number {
  const segment = readSegments(file).find(
    ({ type, offset, fileBytes }) => type === PT_LOAD && offset <= at && at < offset + fileBytes,
  );
  if (segment === undefined) throw new Error(`byte ${at} of the executable is not loaded`);
  return at - segment.offset + segment.address;
}

/**
 * Without its sections: symbols and lines for a debugger, which no process loads. The same as `strip`, for any
 * architecture. The dynamic symbols, by which addons find Node's functions, are loaded and stay.
 */
export function withoutSections(file: Buffer): Buffer {
  const ends = readSegments(file).map(({ offset, fileBytes }) => offset + fileBytes);
  const tableEnd = number64(file, HEADER.PHOFF) + file.readUInt16LE(HEADER.PHNUM) * segmentBytes(file);
  const stripped = Buffer.from(file.subarray(0, Math.max(tableEnd, ...ends)));
  stripped.writeBigUInt64LE(0n, HEADER.SHOFF);
  stripped.writeUInt16LE(0, HEADER.SHNUM);
  stripped.writeUInt16LE(0, HEADER.SHSTRNDX);
  return stripped;
}

/**
 * Without what lies in a hole of one loaded segment, as far as whole pages go. All other bytes keep their addresses:
 * the segment becomes two, and a process that reads the hole's addresses ends by SIGSEGV. The program headers move to
 * the hole's beginning, for Linux before 5.18 looks for them where the first segment would have them: a segment behind
 * the hole would not do. The segment that `--build-sea` made for them goes: where pages have 64 KiB, which arm64 may
 * have, it would cover the end of the data before it.
 */
export function cutOut(file: Buffer, hole: Place): Buffer {
  const headers = number64(file, HEADER.PHOFF);
  const segments = readSegments(file).filter(({ type, offset }) => type !== PT_LOAD || offset !== headers);
  const holeEnd = hole.offset + hole.bytes;
  const split = segments.find(
    ({ type, offset, fileBytes }) =>
      type === PT_LOAD && offset <= hole.offset && holeEnd <= offset + fileBytes,
  );
  const first = segments.find(({ type }) => type === PT_LOAD);
  if (split === undefined || first === undefined) throw new Error('the hole is in no loaded segment');
  if (split.address - split.offset !== first.address - first.offset) {
    throw new Error('the program headers can not be where Linux before 5.18 looks for them');
  }
  const table = alignUp(hole.offset, 8);
  const tableEnd = table + (segments.length + 1) * segmentBytes(file);
  const to = holeEnd - (holeEnd % split.align);
  const cut = to - alignUp(tableEnd, split.align);
  if (cut <= 0) return file;
  const from = to - cut;

  const tableAddress = table - split.offset + split.address;
  const moved = segments.flatMap((segment): Segment[] => {
    if (segment === split) {
      const before = from - split.offset;
      const behind = {
        ...split,
        offset: from,
        address: split.address + before + cut,
        fileBytes: split.fileBytes - before - cut,
        bytes: split.bytes - before - cut,
      };
      return [{ ...split, fileBytes: before, bytes: before }, behind];
    }
    if (segment.type === PT_PHDR) {
      const bytes = tableEnd - table;
      return [{ ...segment, offset: table, address: tableAddress, fileBytes: bytes, bytes }];
    }
    return [segment.offset < to ? segment : { ...segment, offset: segment.offset - cut }];
  });
  const made = Buffer.concat([
    file.subarray(0, hole.offset),
    Buffer.alloc(from - hole.offset),
    file.subarray(to),
  ]);
  made.writeBigUInt64LE(BigInt(table), HEADER.PHOFF);
  made.writeUInt16LE(moved.length, HEADER.PHNUM);
  for (const [at, segment] of moved.entries()) writeSegment(made, table + at * segmentBytes(file), segment);
  return made;
}

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;
const number64 = (file: Buffer, at: number): number => Number(file.readBigUInt64LE(at));
const segmentBytes = (file: Buffer): number => file.readUInt16LE(HEADER.PHENTSIZE);

/** The program headers, in their order. */
export function readSegments(file: Buffer): Segment[] {
  const begin = number64(file, HEADER.PHOFF);
  return Array.from({ length: file.readUInt16LE(HEADER.PHNUM) }, (_, index) => {
    const at = begin + index * segmentBytes(file);
    return {
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      offset: number64(file, at + 8),
      address: number64(file, at + 16),
      fileBytes: number64(file, at + 32),
      bytes: number64(file, at + 40),
      align: number64(file, at + 48),
    };
  });
}

function writeSegment(file: Buffer, at: number, segment: Segment): void {
  file.writeUInt32LE(segment.type, at);
  file.writeUInt32LE(segment.flags, at + 4);
  const { offset, address, fileBytes, bytes, align } = segment;
  // The address stands twice: as virtual and as physical.
  for (const [index, value] of [offset, address, address, fileBytes, bytes, align].entries()) {
    file.writeBigUInt64LE(BigInt(value), at + 8 + 8 * index);
  }
}

function readSections(file: Buffer): { type: number; offset: number; bytes: number; link: number }[] {
  const begin = number64(file, HEADER.SHOFF);
  return Array.from({ length: file.readUInt16LE(HEADER.SHNUM) }, (_, index) => {
    const at = begin + index * file.readUInt16LE(HEADER.SHENTSIZE);
    return {
      type: file.readUInt32LE(at + 4),
      offset: number64(file, at + 24),
      bytes: number64(file, at + 32),
      link: file.readUInt32LE(at + 40),
    };
  });
}
