import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  Flag,
  FrameReader,
  FrameType,
  frame,
  goawayFrame,
  headerFrames,
  reasonName,
  settingsFrame,
} from '#src/grpc/http2-frames.ts';

/** What a reader hands out for a wire that is cut into such pieces. */
function read(wire: Buffer, cuts: readonly number[]): string[] {
  const seen: string[] = [];
  let body = '';
  const reader = new FrameReader({
    begin() {},
    piece: (_, bytes) => {
      body += bytes.toString('hex');
    },
    end: ({ type, flags, stream }, payload) => {
      seen.push(`${type} ${flags} ${stream} ${body}${payload.toString('hex')}`);
      body = '';
    },
  });
  for (let at = 0, n = 0; at < wire.length; n++) {
    const end = at + (cuts[n % cuts.length] ?? 1);
    reader.push(wire.subarray(at, end));
    at = end;
  }
  return seen;
}

test('frames come out as they went in, however the bytes are cut', () => {
  const made = fc.record({
    type: fc.integer({ min: 0, max: 12 }),
    flags: fc.integer({ min: 0, max: 255 }),
    stream: fc.integer({ min: 0, max: 0x7fff_ffff }),
    payload: fc.uint8Array({ maxLength: 40 }),
  });
  void fc.assert(
    fc.property(
      fc.array(made, { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (frames, cuts) => {
        const wire = frames.map(({ type, flags, stream, payload }) =>
          frame(type, flags, stream, Buffer.from(payload)),
        );
        const wanted = frames.map(
          ({ type, flags, stream, payload }) =>
            `${type} ${flags} ${stream} ${Buffer.from(payload).toString('hex')}`,
        );
        assert.deepEqual(read(Buffer.concat(wire), cuts), wanted);
      },
    ),
  );
});

test('the bytes of RFC 9113', () => {
  assert.equal(settingsFrame([[4, 65_536]]).toString('hex'), '000006040000000000000400010000');
  assert.equal(goawayFrame(11).toString('hex'), '000008070000000000000000000000000b');
  assert.equal(frame(FrameType.DATA, Flag.END_STREAM, 3).toString('hex'), '000000000100000003');
  assert.equal(reasonName(7), 'REFUSED_STREAM');
  assert.equal(reasonName(77), 'error 77');
});

test('a header block that is longer than a frame is continued', () => {
  const block = Buffer.from('abcdefg');
  assert.deepEqual(read(headerFrames(5, Flag.END_STREAM, block, 3), [100]), [
    '1 1 5 616263',
    '9 0 5 646566',
    '9 4 5 67',
  ]);
});
