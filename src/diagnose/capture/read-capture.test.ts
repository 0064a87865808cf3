import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Frame, LINK_TYPES } from '#src/diagnose/capture/frame.ts';
import { readCapture } from '#src/diagnose/capture/read-capture.ts';
import { PcapngBlocks } from '#src/diagnose/capture/write-pcapng.ts';
import { WeftError } from '#src/lib/errors.ts';
import { ipv4, ipv6 } from '#src/lib/ip.ts';

/** In pieces, as a file is read. */
async function* pieces(bytes: Uint8Array, size = 64): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The frames, and the error that ended them. */
async function read(bytes: Uint8Array, size?: number): Promise<{ frames: Frame[]; error?: string }> {
  const frames: Frame[] = [];
  try {
    for await (const frame of readCapture(pieces(bytes, size))) frames.push(frame);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    assert.equal(error.code, 'capture-file');
    return { frames, error: error.message };
  }
  return { frames };
}

const frame = fc.record({
  at: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
  device: fc.constantFrom('eth0', 'flannel.1', 'grün'),
  linkType: fc.constantFrom(...Object.values(LINK_TYPES)),
  direction: fc.constantFrom('in', 'out'),
  bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  extra: fc.nat(10),
});

function written(frames: readonly Frame[]): Uint8Array {
  const blocks = new PcapngBlocks();
  return Buffer.concat([
    blocks.section({ application: 'weft 1.2.3', comment: 'on h1' }),
    blocks.names([
      [ipv4(0x0a000001), 'web'],
      [ipv6(1n), 'six'],
    ]),
    ...frames.map((it) => blocks.frame(it)),
    ...frames.slice(0, 1).map((it) => blocks.dropped(it, 3, 5n)),
  ]);
}

test('what was written is read again, frame by frame', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { maxLength: 8 }),
      fc.integer({ min: 1, max: 90 }),
      async (given, size) => {
        const frames = given.map(
          ({ extra, ...rest }): Frame => ({
            ...rest,
            direction: rest.direction === 'in' ? 'in' : 'out',
            originalLength: rest.bytes.length + extra,
          }),
        );
        const got = await read(written(frames), size);
        const plain = got.frames.map((it) => ({ ...it, bytes: Buffer.from(it.bytes) }));
        assert.deepEqual([plain, got.error], [frames, undefined]);
      },
    ),
    { numRuns: 100 },
  );
});

/** A classic file of one frame; `order` and `unit` as its magic number says. */
function classic(order: 'LE' | 'BE', magic: number, linkType = 1): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (order === 'LE') bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const version = order === 'LE' ? '02000400' : '00020004';
  const header = [u32(magic), Buffer.from(version, 'hex'), u32(0), u32(0), u32(65_535), u32(linkType)];
  return Buffer.concat([...header, u32(7), u32(5), u32(3), u32(9), Buffer.from('abc')]);
}

test('classic files of both byte orders, in microseconds and nanoseconds', async () => {
  for (const order of ['LE', 'BE'] as const)
    for (const [magic, at] of [
      [0xa1b2c3d4, 7_000_005_000n],
      [0xa1b23c4d, 7_000_000_005n],
    ] as const) {
      const { frames, error } = await read(classic(order, magic));
      assert.equal(error, undefined);
      assert.deepEqual(
        frames.map((it) => [it.at, Buffer.from(it.bytes).toString(), it.originalLength, it.linkType]),
        [[at, 'abc', 9, 1]],
      );
    }
});

test('a file that is none, or is damaged, gives one line, and the frames before the damage', async () => {
  const ok = classic('LE', 0xa1b2c3d4);
  const record = ok.subarray(24);
  const cases: readonly (readonly [Uint8Array, frames: number, RegExp])[] = [
    [Buffer.alloc(0), 0, /^it is empty$/],
    [Buffer.from('ab'), 0, /only some bytes/],
    [Buffer.from('{"json": true}'), 0, /neither pcapng nor pcap/],
    [Buffer.from('1f8b08000000', 'hex'), 0, /compressed/],
    [ok.subarray(0, 20), 0, /header is cut short/],
    [Buffer.concat([ok, record.subarray(0, 17)]), 1, /ends in the middle of a frame, at byte 60/],
    [Buffer.concat([ok, Buffer.alloc(16, 0xff)]), 1, /damaged at byte 59: a length of 4294967295 bytes/],
    [classic('LE', 0xa1b2c3d4, 195), 0, /link type 195/],
    [Buffer.from('0a0d0d0a 0000001c 00000000'.replaceAll(' ', ''), 'hex'), 0, /no byte order/],
    [Buffer.from('0a0d0d0a 0c000000 4d3c2b1a'.replaceAll(' ', ''), 'hex'), 0, /a length of 12 bytes/],
  ];
  for (const [bytes, count, message] of cases) {
    const { frames, error } = await read(bytes);
    assert.match(error ?? '', message);
    assert.equal(frames.length, count);
  }
});

test('no bytes and no damage make the reader fail in another way', async () => {
  const whole = written([
    { at: 5n, device: 'eth0', linkType: 1, direction: 'in', bytes: Buffer.alloc(40, 1), originalLength: 90 },
    { at: 6n, device: 'eth1', linkType: 101, direction: 'out', bytes: Buffer.alloc(3, 1), originalLength: 3 },
  ]);
  const changes = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 5 });
  const damaged = fc.tuple(changes, fc.nat(whole.length)).map(([edits, length]) => {
    const bytes = Buffer.from(whole);
    for (const [at, value] of edits) bytes[at] = value;
    return bytes.subarray(0, length);
  });
  const random = fc
    .tuple(fc.constantFrom('0a0d0d0a', 'd4c3b2a1', 'a1b23c4d', ''), fc.uint8Array({ maxLength: 120 }))
    .map(([magic, rest]) => Buffer.concat([Buffer.from(magic, 'hex'), rest]));
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, random), async (bytes) => void (await read(bytes))),
    { numRuns: 1_500 },
  );
});
