import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EMPTY_SETTINGS, HTTP2_PREFACE, Http2Greeting } from '#src/store/http2-greeting.ts';

const SETTINGS_ACK = Buffer.of(0, 0, 0, 4, 1, 0, 0, 0, 0);
const PING = Buffer.concat([Buffer.of(0, 0, 8, 6, 0, 0, 0, 0, 0), Buffer.alloc(8)]);

function headers(block: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0, 0, block.length, 1, 4, 0, 0, 0, 1), block]);
}
/** `:method: POST` (indexed), `:path: /x` and `:authority` (literals), by RFC 7541 section 6. */
function block(authority: Buffer, huffman = false): Buffer {
  const length = authority.length | (huffman ? 0x80 : 0);
  return Buffer.concat([Buffer.of(0x83, 0x44, 2, 0x2f, 0x78, 0x41, length), authority]);
}
/** RFC 7541 appendix B; the 1 has code 00001, and the last byte is filled with ones. */
function huffman(text: string): Buffer {
  const codes: Record<string, string> = {
    ...{ h: '100111', t: '01001', p: '101011', s: '01000', ':': '1011100' },
    ...{ '/': '011000', '.': '010111', '1': '00001' },
  };
  const bits = Array.from(text, (letter) => codes[letter] ?? '').join('');
  const filled = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  return Buffer.from(filled.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}

/** What is handed on of a greeting that comes in pieces. */
function handedOn(bytes: Buffer, pieces: readonly number[] = [bytes.length]): Buffer | undefined {
  const greeting = new Http2Greeting();
  let state = greeting.push(bytes.subarray(0, HTTP2_PREFACE.length));
  let at = HTTP2_PREFACE.length;
  for (let n = 0; at < bytes.length; n++) {
    assert.equal(state, 'more');
    const end = at + (pieces[n % pieces.length] ?? 1);
    state = greeting.push(bytes.subarray(at, end));
    at = end;
  }
  return state === 'ready' ? greeting.bytes : undefined;
}

test('the slashes of an :authority become dots, plain and in Huffman code, and nothing else changes', () => {
  for (const encode of [Buffer.from, huffman] as const) {
    for (const [sent, seen] of [
      ['http://1.1:11', 'http:..1.1:11'],
      ['https://1.1:11', 'https:..1.1:11'],
      ['1.1:11', '1.1:11'],
    ] as const) {
      const greeting = (authority: string): Buffer => headers(block(encode(authority), encode === huffman));
      const bytes = Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, SETTINGS_ACK, greeting(sent)]);
      assert.deepEqual(handedOn(bytes), Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, greeting(seen)]));
    }
  }
});

test('it makes no difference how the bytes come in', () => {
  const request = headers(block(Buffer.from('http://127.0.0.1:2379')));
  const bytes = Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, request, SETTINGS_ACK]);
  const whole = handedOn(bytes);
  assert.ok(whole);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (pieces) => {
      assert.deepEqual(handedOn(bytes, pieces), whole);
    }),
  );
});

test('nothing is handed on before the acknowledgement; a ping is, without a request', () => {
  const request = headers(block(Buffer.from('a')));
  assert.equal(handedOn(Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, request])), undefined);
  assert.equal(handedOn(Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, SETTINGS_ACK])), undefined);
  assert.ok(handedOn(Buffer.concat([HTTP2_PREFACE, EMPTY_SETTINGS, SETTINGS_ACK, PING])));
});

test('random bytes neither throw nor grow without bound', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      new Http2Greeting().push(Buffer.concat([HTTP2_PREFACE, bytes]));
      new Http2Greeting().push(Buffer.concat([HTTP2_PREFACE, headers(Buffer.from(bytes.subarray(0, 255)))]));
    }),
  );
  const greeting = new Http2Greeting();
  greeting.push(HTTP2_PREFACE);
  assert.equal(greeting.push(Buffer.alloc(300 << 10)), 'bad');
});

test('each byte of a greeting is looked at once, and a frame above the limit ends it', () => {
  const greeting = new Http2Greeting();
  greeting.push(HTTP2_PREFACE);
  // Literals ":authority" with an empty value: as many fields as fit, in the largest frames that are allowed.
  const full = headers(Buffer.alloc(16_384, Buffer.of(0x01, 0x80)));
  full.writeUIntBE(16_384, 0, 3);
  let sent = HTTP2_PREFACE.length;
  const began = process.cpuUsage();
  while (sent + full.length < 128 << 10) {
    for (const byte of full) greeting.push(Buffer.of(byte));
    sent += full.length;
  }
  while (sent++ < 128 << 10) assert.equal(greeting.push(Buffer.of(0)), 'more');
  assert.equal(greeting.push(Buffer.of(0)), 'bad');
  // Once is some 50 ms. Looking at all of it again for each byte took minutes.
  assert.ok(process.cpuUsage(began).user < 5e6);
  const large = new Http2Greeting();
  large.push(HTTP2_PREFACE);
  assert.equal(large.push(Buffer.of(0, 0x40, 1, 0, 0, 0, 0, 0, 1)), 'bad');
});
