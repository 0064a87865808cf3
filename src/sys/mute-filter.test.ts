import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { muteFilter } from '#src/sys/mute-filter.ts';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Classic BPF, as far as the filter uses it (linux/filter.h): whether the packet passes. */
function passes(instructions: Uint8Array, packet: Uint8Array): boolean {
  const program = new DataView(instructions.buffer);
  const data = new DataView(packet.buffer);
  let accumulator = 0;
  for (let pc = 0; ; pc++) {
    const k = program.getUint32(pc * 8 + 4, LITTLE_ENDIAN);
    switch (program.getUint16(pc * 8, LITTLE_ENDIAN)) {
      case 0x28:
        accumulator = data.getUint16(k);
        break;
      case 0x20:
        accumulator = data.getUint32(k);
        break;
      case 0x15:
        pc += program.getUint8(pc * 8 + (accumulator === k ? 2 : 3));
        break;
      case 0x06:
        return k !== 0;
      default:
        assert.fail('an instruction that the filter does not use');
    }
  }
}

const numbers = fc.nat(0xffff);

test('mutes exactly the types given, of exactly the port given', () => {
  const few = fc.constantFrom<number[]>(24, 25, 28, 0x1818);
  fc.assert(
    fc.property(
      fc.constantFrom(1, 4711, 0xfffffff0),
      fc.array(few, { maxLength: 4 }),
      fc.oneof(few, numbers),
      fc.constantFrom(0, 1, 4711, 0xfffffff0),
      (port, types, type, sender) => {
        const packet = new DataView(new ArrayBuffer(16));
        packet.setUint16(4, type, LITTLE_ENDIAN);
        packet.setUint32(12, sender, LITTLE_ENDIAN);
        const { instructions, count } = muteFilter(port, types);
        assert.equal(instructions.length, count * 8);
        assert.equal(
          passes(instructions, new Uint8Array(packet.buffer)),
          sender !== port || !types.includes(type),
        );
      },
    ),
  );
});
