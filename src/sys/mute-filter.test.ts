import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import { test } from 'node:test';
import fc from 'fast-check';
import { MOST_MUTED_DEVICES, muteFilter } from '#src/sys/mute-filter.ts';

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
      case 0x05:
        pc += k;
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
        const { instructions, count } = muteFilter({ port, types });
        assert.equal(instructions.length, count * 8);
        assert.equal(
          passes(instructions, new Uint8Array(packet.buffer)),
          sender !== port || !types.includes(type),
        );
      },
    ),
  );
});

test('mutes entries of exactly the devices given, and no other types of theirs', () => {
  const index = fc.constantFrom(1, 2, 300, 0x01020304);
  fc.assert(
    fc.property(
      fc.array(index, { maxLength: 3 }),
      index,
      fc.constantFrom(16, 24, 28, 29),
      fc.constantFrom(0, 7),
      (muted, device, type, sender) => {
        const packet = new DataView(new ArrayBuffer(28));
        packet.setUint16(4, type, LITTLE_ENDIAN);
        packet.setUint32(12, sender, LITTLE_ENDIAN);
        packet.setUint32(20, device, LITTLE_ENDIAN);
        const devices = { types: [28, 29], indexes: muted };
        const { instructions } = muteFilter({ port: 7, types: [24], devices });
        const isEcho = sender === 7 && type === 24;
        const isMuted = type >= 28 && muted.includes(device);
        assert.equal(passes(instructions, new Uint8Array(packet.buffer)), !isEcho && !isMuted);
      },
    ),
  );
});

test('the longest filter still jumps where it should', () => {
  const indexes = Array.from({ length: 2 * MOST_MUTED_DEVICES }, (_, n) => n + 1);
  const { instructions } = muteFilter({ port: 7, types: [24, 25], devices: { types: [28, 29], indexes } });
  const about = (device: number): Uint8Array => {
    const packet = new DataView(new ArrayBuffer(28));
    packet.setUint16(4, 28, LITTLE_ENDIAN);
    packet.setUint32(20, device, LITTLE_ENDIAN);
    return new Uint8Array(packet.buffer);
  };
  assert.equal(passes(instructions, about(1)), false);
  assert.equal(passes(instructions, about(MOST_MUTED_DEVICES)), false);
  assert.equal(passes(instructions, about(MOST_MUTED_DEVICES + 1)), true);
});
