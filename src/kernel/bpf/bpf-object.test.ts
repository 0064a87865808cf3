import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAST_PATH_PROGRAM } from '#src/fast-path/fast-path-program.ts';
import { MAPS } from '#src/fast-path/map-layouts.ts';
import { linkProgram, readBpfObject } from '#src/kernel/bpf/bpf-object.ts';

const OBJECT = Buffer.from(FAST_PATH_PROGRAM, 'base64');

test('the programs of an object, and the maps that they use', () => {
  const { programs, license } = readBpfObject(OBJECT);
  assert.equal(license, 'Dual BSD/GPL');
  assert.deepEqual([...programs.keys()], ['from_container', 'from_wire', 'note_out', 'note_in']);
  for (const [name, { code, relocations }] of programs) {
    assert.equal(code.length % 8, 0, name);
    assert.ok(relocations.length > 0, name);
    for (const { offset, map } of relocations) {
      assert.ok(map in MAPS, `${name} uses ${map}`);
      // BPF_LD | BPF_IMM | BPF_DW, of two instructions.
      assert.equal(code[offset], 0x18, name);
    }
  }
});

test('a linked program has the maps’ descriptors in its instructions, and the object stays as it is', () => {
  const section = readBpfObject(OBJECT).programs.get('note_in') ?? assert.fail();
  const fds = Object.fromEntries(Object.keys(MAPS).map((map, index) => [map, 100 + index]));
  const linked = Buffer.from(linkProgram(section, fds));
  const untouched = Buffer.from(section.code);
  for (const { offset, map } of section.relocations) {
    assert.equal(linked.readInt32LE(offset + 4), fds[map]);
    // BPF_PSEUDO_MAP_FD in the source register.
    assert.equal((linked[offset + 1] ?? 0) >> 4, 1);
    assert.equal(untouched.readInt32LE(offset + 4), 0);
  }
  assert.throws(() => linkProgram(section, {}), { name: 'TypeError', message: /settings/ });
});

test('what is no BPF object is refused', () => {
  assert.throws(() => readBpfObject(new Uint8Array(10)), TypeError);
  const other = Buffer.from(OBJECT);
  other.writeUInt16LE(62, 18);
  assert.throws(() => readBpfObject(other), { message: 'this is no BPF object' });
});
