import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Responder, type ResponderHandlers } from '#src/diagnose/responder/responder.ts';
import { type Ipv4, parseIpv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { systemMeasuringSockets } from '#src/sys/measuring-sockets.ts';
import { until } from '#src/sys/until.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
/** The host's own end, a peer's, and a container's: all of the loopback. */
const [OWN, PEER, CONTAINER] = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];

async function freePort(): Promise<number> {
  const server = createServer().listen(0, OWN);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : assert.fail();
}

async function start(t: TestContext, handlers: ResponderHandlers = {}) {
  const port = await freePort();
  const clock = new FakeClock();
  const troubles: (string | undefined)[] = [];
  const responder = new Responder(
    { ...systemMeasuringSockets, clock, log: silentLogger },
    {
      port,
      accepts: (from) => from === ip(PEER),
      handlers: { 'GET /v1/hello': () => ({ version: '1' }), ...handlers },
      onTrouble: (trouble) => troubles.push(trouble),
    },
  );
  responder.use(ip(OWN));
  const stop = new AbortController();
  const ended = responder.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await ended;
  });
  return { responder, port, clock, troubles };
}

/** All that comes back on a connection, and how it ended. */
async function tell(port: number, from: string, text: string): Promise<string> {
  const socket = connect({ host: OWN, port, localAddress: from });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  socket.write(text);
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('close', () => resolve());
  await promise;
  return Buffer.concat(chunks).toString();
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
const post = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const isOpen = (port: number): Promise<string> =>
  until(async () => (await tell(port, PEER, get('/v1/hello'))) || undefined, {
    what: 'answer of the responder',
  });

test('a peer gets one answer on a connection', async (t) => {
  const { port } = await start(t);
  const answer = await isOpen(port);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /\r\nConnection: close\r\n/);
  assert.match(answer, /\r\n\r\n\{"version":"1"\}$/);
  assert.match(await tell(port, PEER, get('/v1/other')), /^HTTP\/1\.1 404 .*there is no GET \/v1\/other/s);
});

test('nobody else gets a byte', async (t) => {
  const { port } = await start(t);
  await isOpen(port);
  assert.equal(await tell(port, CONTAINER, get('/v1/hello')), '');
  const [peer, container] = [createSocket('udp4').bind(0, PEER), createSocket('udp4').bind(0, CONTAINER)];
  t.after(() => peer.close());
  t.after(() => container.close());
  await Promise.all([once(peer, 'listening'), once(container, 'listening')]);
  let answered = 0;
  container.on('message', () => answered++);
  container.send('ping', port, OWN);
  container.send('ping', port, OWN);
  // Datagrams of one socket are handled in order: that of the peer came last.
  peer.send('pong', port, OWN);
  const [message] = await once(peer, 'message');
  assert.deepEqual([String(message), answered], ['pong', 0]);
});

test('a handler has the body, the sender, and its failure for an answer', async (t) => {
  const { port } = await start(t, {
    'POST /v1/trace': (body, from) => ({ body, from }),
    'POST /v1/fails': () => {
      throw new Error('it fails');
    },
  });
  await isOpen(port);
  const answer = await tell(port, PEER, post('/v1/trace', '{"a":1}'));
  assert.match(answer, new RegExp(`\\{"body":\\{"a":1\\},"from":${Number(ip(PEER))}\\}$`));
  assert.match(await tell(port, PEER, post('/v1/fails', '{}')), /^HTTP\/1\.1 400 .*"it fails"/s);
  assert.match(await tell(port, PEER, post('/v1/trace', '{')), /^HTTP\/1\.1 400 .*it is not JSON/s);
  const long = `"${'x'.repeat(70_000)}"`;
  assert.match(await tell(port, PEER, post('/v1/trace', long)), /^HTTP\/1\.1 400 .*longer than 65536/s);
});

test('a port that another program has is a trouble, until it is free', async (t) => {
  const { responder, port, clock, troubles } = await start(t);
  await isOpen(port);
  const other = createServer().listen(port, CONTAINER);
  t.after(() => other.close());
  await once(other, 'listening');
  responder.use(ip(CONTAINER));
  await until(() => troubles.length > 0, { what: 'trouble' });
  assert.match(
    responder.trouble ?? '',
    /can not listen on 127\.0\.0\.4:\d+: another program has the port; "ss /,
  );
  other.close();
  await once(other, 'close');
  await clock.advance(5_000);
  await until(() => responder.trouble === undefined, { what: 'end of the trouble' });
  assert.equal(troubles.length, 2);
});

test('it follows its address, and listens nowhere without one', async (t) => {
  const { responder, port } = await start(t);
  await isOpen(port);
  responder.use(undefined);
  await until(async () => (await tell(port, PEER, get('/v1/hello'))) === '', {
    what: 'end of the answers',
  });
  responder.use(ip(OWN));
  await isOpen(port);
});
