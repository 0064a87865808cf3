import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { cutOut, dynamicSymbol, withoutSections } from './elf-file.ts';
import { icuSymbol } from './icu-data.ts';

const PAGE = 4096;
const ADDRESS = 0x40_0000;
const [PT_LOAD, PT_NOTE, PT_PHDR] = [1, 4, 6];

/** Type, offset, address, bytes of a segment, in the file and in memory alike. */
type Segment = readonly [type: number, offset: number, address: number, bytes: number];

/** An executable whose bytes, except for the headers, are the numbers of their pages. */
function elf(bytes: number, segments: readonly Segment[]): Buffer {
  const file = Buffer.from(Array.from({ length: bytes }, (_, at) => Math.floor(at / PAGE)));
  file.fill(0, 0, 64);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(segments.length, 56);
  for (const [index, [type, offset, address, length]] of segments.entries()) {
    const at = 64 + 56 * index;
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(4, at + 4);
    for (const [field, value] of [offset, address, address, length, length, PAGE].entries()) {
      file.writeBigUInt64LE(BigInt(value), at + 8 + 8 * field);
    }
  }
  return file;
}

function segmentsOf(file: Buffer): Segment[] {
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = Number(file.readBigUInt64LE(32)) + 56 * index;
    const [offset, address, bytes] = [8, 16, 32].map((field) => Number(file.readBigUInt64LE(at + field)));
    return [file.readUInt32LE(at), offset ?? 0, address ?? 0, bytes ?? 0];
  });
}

/** What a process finds at an address, after the kernel has mapped the segments. */
function byteAt(file: Buffer, address: number): number | undefined {
  const found = segmentsOf(file).find(
    ([type, , begin, bytes]) => type === PT_LOAD && begin <= address && address < begin + bytes,
  );
  return found && file[found[1] + address - found[2]];
}

test('whole pages of a hole go, and every other byte keeps its address', () => {
  const before = elf(10 * PAGE, [
    [PT_PHDR, 64, ADDRESS + 64, 5 * 56],
    [PT_LOAD, 0, ADDRESS, 8 * PAGE],
    [PT_LOAD, 8 * PAGE, ADDRESS + 20 * PAGE, 2 * PAGE],
    [PT_NOTE, 9 * PAGE, ADDRESS + 21 * PAGE, 16],
    // Where the program headers are now.
    [PT_LOAD, 64, ADDRESS + 30 * PAGE, 5 * 56],
  ]);
  const hole = { offset: 2 * PAGE + 100, bytes: 4 * PAGE };
  const after = cutOut(before, hole);

  assert.equal(after.length, 7 * PAGE);
  for (let page = 0; page < 30; page++) {
    const address = ADDRESS + page * PAGE + PAGE - 1;
    const inHole = page >= 3 && page <= 5;
    const expected = inHole ? undefined : page === 2 ? 0 : byteAt(before, address);
    assert.equal(byteAt(after, address), expected, `page ${page}`);
  }
  const segments = segmentsOf(after);
  assert.deepEqual(segments.at(-1), [PT_NOTE, 6 * PAGE, ADDRESS + 21 * PAGE, 16]);
  // The program headers describe their own place, which is as far from its address as that of the first segment.
  const [type, offset, address, bytes] = segments[0] ?? [];
  assert.deepEqual([type, offset, bytes], [PT_PHDR, Number(after.readBigUInt64LE(32)), 5 * 56]);
  assert.equal(address, ADDRESS + (offset ?? 0));
});

test('a hole of less than a page stays, and one outside of what is loaded is refused', () => {
  const file = elf(4 * PAGE, [[PT_LOAD, 0, ADDRESS, 2 * PAGE]]);
  assert.equal(cutOut(file, { offset: 200, bytes: PAGE }), file);
  assert.throws(() => cutOut(file, { offset: PAGE, bytes: 2 * PAGE }), /in no loaded segment/);
});

test('without its sections a program runs, as strip would leave it', (t) => {
  const whole = readFileSync(process.execPath);
  const stripped = withoutSections(whole);
  assert.ok(stripped.length < whole.length - 20e6, `${whole.length} to ${stripped.length} bytes`);
  const file = join(scratchFolder(t), 'node');
  writeFileSync(file, stripped, { mode: 0o755 });
  const script = 'console.log(new Intl.NumberFormat("de").format(1.5))';
  assert.equal(execFileSync(file, ['--eval', script], { encoding: 'utf8' }), '1,5\n');
});

test("a dynamic symbol's place, and none for a name that is not there", () => {
  const node = readFileSync(process.execPath);
  const { offset, bytes } = dynamicSymbol(node, icuSymbol());
  assert.ok(bytes > 20e6);
  assert.equal(node.toString('latin1', offset + 12, offset + 16), 'CmnD');
  assert.throws(() => dynamicSymbol(node, 'icudt1_dat'), /has no icudt1_dat/);
});
