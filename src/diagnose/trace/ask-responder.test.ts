import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { askResponder } from '#src/diagnose/trace/ask-responder.ts';
import { isAbort, WeftError } from '#src/lib/errors.ts';
import { ipv4 } from '#src/lib/ip.ts';

const LOOPBACK = ipv4(0x7f000001);

async function peer(t: TestContext, answer: RequestListener) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  t.after(() => server.close().closeAllConnections());
  await once(server, 'listening');
  // However it closes: bytes that the client did not read are answered with a reset.
  const closed = new Promise<void>((done) => {
    server.once('connection', (socket) => socket.on('error', () => {}).once('close', () => done()));
  });
  const { port } = server.address() as AddressInfo;
  return { at: { address: LOOPBACK, port, from: LOOPBACK }, closed };
}

const failure = async (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => assert.fail('it has an answer'),
    (error: unknown) => error,
  );

test('the answer is JSON, and a refusal says why', async (t) => {
  const { at } = await peer(t, (request, response) => {
    if (request.url === '/good') response.end('{"host":"h2"}');
    else response.writeHead(400).end('{"error":"no such part"}');
  });
  assert.deepEqual(await askResponder(at, '/good', {}, { timeoutMs: 5_000 }), { host: 'h2' });
  const refused = await failure(askResponder(at, '/bad', {}, { timeoutMs: 5_000 }));
  assert.ok(refused instanceof WeftError);
  assert.match(refused.message, /^no answer of weft from 127\.0\.0\.1:\d+: no such part/);
});

for (const [name, answer] of [
  ['nothing', () => {}],
  ['only the head', (_request, response) => response.flushHeaders()],
  ['an answer that has no end', (_request, response) => response.write('{')],
] satisfies [string, RequestListener][]) {
  test(`${name}: it ends at the deadline, and leaves no connection`, async (t) => {
    const { at, closed } = await peer(t, answer);
    const silence = await failure(askResponder(at, '/v1/trace', {}, { timeoutMs: 50 }));
    assert.ok(silence instanceof WeftError && silence.cause instanceof DOMException);
    assert.equal(silence.cause.name, 'TimeoutError');
    assert.match(silence.message, /nothing in 0\.05 s/);
    await closed;
  });
}

test('the signal ends it: that is no failure of the peer', async (t) => {
  const stop = new AbortController();
  const { at, closed } = await peer(t, () => stop.abort());
  const ended = await failure(askResponder(at, '/v1/trace', {}, { timeoutMs: 60_000, signal: stop.signal }));
  assert.ok(isAbort(ended));
  await closed;
});
