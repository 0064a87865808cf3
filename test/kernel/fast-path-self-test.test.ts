import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BpfObject } from '#src/kernel/bpf/bpf-object.ts';
import { PROGRAMS, readPrograms } from '#src/reconcile/fast-path/load-programs.ts';
import { selfTest } from '#src/reconcile/fast-path/self-test.ts';
import { Bpf } from '#src/sys/bpf.ts';
import { bpfForms } from '../support/bpf-forms.ts';

/* Programs that do something else than they should are found before they are attached, as if the kernel ran them wrongly. */

const skip = (await bpfForms()).get('clsact') ?? false;

/** Bytes of an instruction, and of its operand (struct bpf_insn). */
const [INSTRUCTION, IMMEDIATE] = [8, 4];

/** The object with one byte of one program's operands changed. */
function broken(object: BpfObject, name: string, find: (code: Buffer) => number, byte: number): BpfObject {
  const section = object.programs.get(name) ?? assert.fail(name);
  const code = Buffer.from(section.code);
  const at = find(code);
  assert.ok(at >= 0 && code[at] !== byte, `nothing to change in ${name}`);
  code[at] = byte;
  return { ...object, programs: new Map([...object.programs, [name, { ...section, code }]]) };
}

/** Where an instruction has this operand. */
const operand = (value: number) => (code: Buffer) => {
  for (let at = IMMEDIATE; at < code.length; at += INSTRUCTION) if (code.readInt32LE(at) === value) return at;
  return -1;
};

/** `r0 = VERDICT; exit` in place of a program. */
function always(object: BpfObject, name: string, verdict: number): BpfObject {
  const code = Buffer.from('b7000000000000009500000000000000', 'hex');
  code.writeInt32LE(verdict, IMMEDIATE);
  return { ...object, programs: new Map([...object.programs, [name, { code, relocations: [] }]]) };
}

test('the programs are good on this kernel', { skip }, async () => {
  selfTest(await Bpf.open(), await readPrograms());
});

test('each program that does something else is found, and what', { skip }, async () => {
  const bpf = await Bpf.open();
  const object = await readPrograms();
  // As PORT: little-endian reads of what is in the packet.
  const cases: readonly (readonly [BpfObject, RegExp])[] = [
    [always(object, 'from_container', -1), /the first packet of a fresh flow to a peer: .*-1 in place of 7/],
    [always(object, 'from_container', 7), /a flow that is not fresh: .*7 in place of -1/],
    [always(object, 'from_wire', -1), /the first packet of a fresh flow from a peer: .*-1 in place of 7/],
    [always(object, 'from_wire', 0), /a flow from the wire that is not fresh: .*0 in place of -1/],
    [always(object, 'note_out', -1), /a flow was not noted/],
    [always(object, 'note_in', -1), /a flow was not noted/],
    [always(object, 'note_in', 2), /a packet that was let in: .*2 in place of -1/],
    // Room for one byte less than the outer headers have.
    [broken(object, 'from_wire', operand(-50), -49), /./],
  ];
  for (const [wrong, reason] of cases)
    assert.throws(() => selfTest(bpf, wrong), { code: 'fast-path', message: reason });
  assert.equal(PROGRAMS.length, 4);
});
