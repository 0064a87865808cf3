import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  attributes,
  bool,
  type Codec,
  flag,
  i32,
  ip,
  mac,
  struct,
  text,
  u8,
  u16,
  u16be,
  u32,
} from '#src/kernel/attributes.ts';
import { ipv4, ipv6 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';

const INNER = attributes({ kind: [1, text], up: [2, flag], on: [3, bool] });
const LAYOUT = attributes({
  small: [1, u8],
  medium: [2, u16],
  port: [3, u16be],
  large: [4, u32],
  signed: [5, i32],
  address: [6, ip],
  hardware: [7, mac],
  inner: [8, INNER],
});

function write<T>(codec: Codec<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(codec.size(value));
  codec.write(new DataView(bytes.buffer), 0, value);
  return bytes;
}

const read = <T>(codec: Codec<T>, bytes: Uint8Array): T | undefined =>
  codec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);

const addresses = fc.oneof(
  fc.nat(0xffffffff).map(ipv4),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map(ipv6),
);
const words = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
const rows = fc.record(
  {
    small: fc.nat(0xff),
    medium: fc.nat(0xffff),
    port: fc.nat(0xffff),
    large: fc.nat(0xffffffff),
    signed: fc.integer(),
    address: addresses,
    hardware: fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes),
    inner: fc.record(
      { kind: words, up: fc.constant(true as const), on: fc.boolean() },
      { requiredKeys: [], noNullPrototype: true },
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
);

test('written attributes read back the same', () => {
  fc.assert(fc.property(rows, (row) => assert.deepEqual(read(LAYOUT, write(LAYOUT, row)), row)));
});

test('no bytes make reading fail', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      read(LAYOUT, bytes);
    }),
  );
});

test('a written row that is damaged in places is still read without failing', () => {
  fc.assert(
    fc.property(rows, fc.array(fc.tuple(fc.nat(300), fc.nat(255))), fc.nat(300), (row, damages, end) => {
      const bytes = write(LAYOUT, row);
      for (const [at, octet] of damages) if (at < bytes.length) bytes[at] = octet;
      read(LAYOUT, bytes.subarray(0, end));
    }),
  );
});

test('attributes without a name are kept, and written again as they came', () => {
  const bytes = write(attributes({ known: [1, u32], strange: [99, text] }), { known: 7, strange: 'x' });
  const row = read(attributes({ known: [1, u32] }), bytes);
  assert.equal(row?.known, 7);
  assert.deepEqual(row?.unknown, [{ type: 99, bytes: Buffer.from('x\0') }]);
  assert.deepEqual(write(attributes({ known: [1, u32] }), row ?? {}), bytes);
});

test('a value that grew in a newer kernel is read by its beginning', () => {
  const longer = write(attributes({ value: [1, text] }), { value: 'abcdefg' });
  assert.equal(read(attributes({ value: [1, u16be] }), longer)?.value, 0x6162);
});

test('a value too short for its name is kept unread', () => {
  const short = write(attributes({ value: [1, u8] }), { value: 5 });
  const row = read(attributes({ value: [1, u32] }), short);
  assert.deepEqual(row, { unknown: [{ type: 1, bytes: Buffer.of(5) }] });
});

test('NLA_F_NESTED is set on rows within rows', () => {
  const bytes = write(attributes({ inner: [8, INNER] }), { inner: { on: true } });
  assert.equal(Buffer.from(bytes).toString('hex'), '0c000880'.concat('0500030001000000'));
});

test('struct offsets are the C ones', () => {
  const ndmsg = struct({ family: u8, pad1: u8, pad2: u16, index: i32, state: u16, flags: u8, type: u8 });
  assert.equal(ndmsg.bytes, 12);
  assert.equal(
    Buffer.from(write(ndmsg, { family: 7, index: -2, state: 0x80, flags: 2, type: 1 })).toString('hex'),
    '07000000feffffff80000201',
  );
});
