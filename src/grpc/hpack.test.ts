import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodeFields, FieldDecoder, HeaderError } from '#src/grpc/hpack.ts';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const decoded = (decoder: FieldDecoder, hex: string) => [...decoder.decode(bytes(hex))];

test('the answers of RFC 7541 C.6: Huffman codes, and a table that forgets', () => {
  const decoder = new FieldDecoder(4096);
  // The table of the example has 256 bytes.
  const small = '3fe101';
  const first =
    '48 82 6402 58 85 aec3771a4b 61 96 d07abe941054d444a8200595040b8166e082a62d1bff 6e 91 9d29ad171863c78f0b97c8e9ae82ae43d3';
  const date = 'Mon, 21 Oct 2013 20:13:21 GMT';
  assert.deepEqual(decoded(decoder, small + first), [
    [':status', '302'],
    ['cache-control', 'private'],
    ['date', date],
    ['location', 'https://www.example.com'],
  ]);
  assert.deepEqual(decoded(decoder, '48 83 640eff c1 c0 bf'), [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', date],
    ['location', 'https://www.example.com'],
  ]);
  const third =
    '88 c1 61 96 d07abe941054d444a8200595040b8166e084a62d1bff c0 5a 83 9bd9ab 77 ad ' +
    '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007';
  assert.deepEqual(decoded(decoder, third), [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ['location', 'https://www.example.com'],
    ['content-encoding', 'gzip'],
    ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ]);
});

test('what is encoded is decoded, with lengths of all kinds', () => {
  const name = fc.stringMatching(/^[a-z-]{1,20}$/);
  const value = fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
  });
  const long = fc.integer({ min: 100, max: 40_000 }).map((length) => 'x'.repeat(length));
  void fc.assert(
    fc.property(fc.dictionary(name, fc.oneof(value, long), { maxKeys: 6 }), (fields) => {
      const block = encodeFields(Object.entries(fields), new Set(['token']));
      assert.deepEqual([...new FieldDecoder(1 << 20).decode(block)], Object.entries(fields));
    }),
  );
});

const BAD: readonly (readonly [string, string, RegExp])[] = [
  ['a field of a table that is empty', 'be', /no header field 62/],
  ['field 0', '80', /no header field 0/],
  ['a name that is cut off', '0005 6162', /cut off/],
  ['a block that ends in a number', '007f', /cut off/],
  ['a number without end', '00 7f ffffffffffffffff', /too large/],
  ['a table larger than ours', '3fffff03', /change of the header table/],
  ['a change of the table behind a field', '88 20', /change of the header table/],
  ['a code that is none', '00 84 ffffffff 00', /badly coded/],
  ['padding of zeros', '00 81 00 00', /badly coded/],
];
for (const [what, hex, error] of BAD) {
  test(`${what} is refused`, () => {
    assert.throws(
      () => new FieldDecoder(4096).decode(bytes(hex)),
      (thrown) => {
        assert.ok(thrown instanceof HeaderError);
        assert.match(thrown.message, error);
        return true;
      },
    );
  });
}

test('a block that unfolds to more than the limit is refused while it unfolds', () => {
  const decoder = new FieldDecoder(64 << 10);
  decoder.decode(Buffer.concat([bytes('40 01 61 7f a11e'), Buffer.alloc(4000, 'x')]));
  assert.throws(() => decoder.decode(Buffer.alloc(60_000, 0xbe)), /too long/);
});

test('any bytes are fields or a HeaderError', () => {
  void fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
      const decoder = new FieldDecoder(4096);
      for (const block of blocks) {
        try {
          decoder.decode(Buffer.from(block));
        } catch (error) {
          assert.ok(error instanceof HeaderError);
          return;
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test('nghttp2 reads what is encoded', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const session = connect(`http://127.0.0.1:${port}`);
  t.after(() => {
    session.destroy();
    server.close();
  });
  const asked = once(server, 'stream') as Promise<[unknown, IncomingHttpHeaders]>;
  const { Http2Connection } = await import('#src/grpc/http2-connection.ts');
  const { systemClock } = await import('#src/sys/clock.ts');
  const { openStream } = await import('#src/sys/stream-socket.ts');
  const socket = await openStream({ host: '127.0.0.1', port }).opened;
  t.after(() => socket.destroy());
  const secret = 'x'.repeat(300);
  const ignore = { headers() {}, data() {}, ended() {}, failed() {} };
  const connection: InstanceType<typeof Http2Connection> = new Http2Connection(
    { clock: systemClock, socket },
    {
      roomy: () =>
        void connection.open(
          [
            [':method', 'POST'],
            [':scheme', 'http'],
            [':path', '/a'],
            [':authority', 'b:1'],
            ['token', secret],
          ],
          new Set(['token']),
          ignore,
        ),
      draining() {},
      closed() {},
    },
    { pingAfterMs: 60_000, pingAnswerMs: 60_000, greetingMs: 60_000 },
  );
  const [, headers] = await asked;
  assert.equal(headers[':path'], '/a');
  assert.equal(headers[':authority'], 'b:1');
  assert.equal(headers.token, secret);
});
