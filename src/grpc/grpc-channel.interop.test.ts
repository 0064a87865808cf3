import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { GrpcChannel, type Method } from '#src/grpc/grpc-channel.ts';
import { encodeStatusMessage, GrpcError } from '#src/grpc/grpc-status.ts';
import { systemClock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { openStream } from '#src/sys/stream-socket.ts';
import { messageOf } from '../../test/support/http2-peer.ts';

const RAW: Method<Buffer, Buffer> = {
  path: '/test.Raw/Take',
  requestSerialize: (request) => request,
  responseDeserialize: (bytes) => Buffer.from(bytes),
};
const NEVER = new AbortController().signal;

/** A server of another make: nghttp2, which Node has, with its own header compression and windows. */
async function channelTo(
  t: TestContext,
  answer: (stream: ServerHttp2Stream, body: Buffer) => Promise<string>,
) {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream) => {
    const pieces: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('end', () => {
      let text = '';
      stream.on('wantTrailers', () => {
        stream.sendTrailers({
          'grpc-status': text === '' ? '0' : '9',
          'grpc-message': encodeStatusMessage(text),
        });
      });
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      answer(stream, Buffer.concat(pieces)).then(
        (said) => {
          text = said;
          stream.end();
        },
        () => stream.destroy(),
      );
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const channel = new GrpcChannel(
    { clock: systemClock, open: openStream },
    { host: '127.0.0.1', port },
    { pingAfterMs: 6_000, pingAnswerMs: 3_000, greetingMs: 20_000, maxMessageBytes: 64 << 20 },
  );
  t.after(() => {
    channel.close();
    server.close();
  });
  return channel;
}

async function write(stream: ServerHttp2Stream, bytes: Buffer): Promise<void> {
  if (!stream.write(bytes)) await once(stream, 'drain');
}

test('50,000 messages come whole and in their order to who reads slowly', async (t) => {
  const count = 50_000;
  const channel = await channelTo(t, async (stream) => {
    for (let n = 0; n < count; n++) {
      await write(stream, messageOf(`${n} ${'x'.repeat(n % 400)}`));
    }
    return '';
  });
  const call = channel.duplex(RAW);
  call.end();
  let seen = 0;
  for await (const message of call) {
    assert.equal(message.toString(), `${seen} ${'x'.repeat(seen % 400)}`);
    if (++seen % 1_000 === 0) await nextTurn();
  }
  assert.equal(seen, count);
});

test('large messages go both ways', async (t) => {
  const bytes = Buffer.alloc(20 << 20, 'large');
  const channel = await channelTo(t, async (stream, body) => {
    await write(stream, body);
    return '';
  });
  const answer = await channel.unary(RAW, bytes, {}, NEVER);
  assert.equal(answer.equals(bytes), true);
});

test('a hundred calls at once, again and again, over one header table', async (t) => {
  const channel = await channelTo(t, async (stream, body) => {
    await write(stream, body);
    return '';
  });
  for (let round = 0; round < 5; round++) {
    const calls = Array.from({ length: 100 }, async (_, n) => {
      const metadata = { token: `token ${n}`, 'x-number': String(n % 7) };
      const answer = await channel.unary(RAW, Buffer.from(String(n)), { metadata }, NEVER);
      assert.equal(answer.toString(), String(n));
    });
    await Promise.all(calls);
  }
});

for (const text of [
  'etcdserver: mvcc: required revision has been compacted',
  'größer 100 %',
  '{"a":"~^|"}',
]) {
  test(`an error’s text comes as it was: ${text}`, async (t) => {
    const channel = await channelTo(t, async () => text);
    await assert.rejects(channel.unary(RAW, Buffer.alloc(0), {}, NEVER), (error) => {
      assert.ok(error instanceof GrpcError);
      assert.deepEqual([error.code, error.details], [9, text]);
      return true;
    });
  });
}
