import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { type Ipv4, parseIpv4 } from '#src/lib/ip.ts';
import { systemDialer } from '#src/sys/dialer.ts';
import { systemEchoServers } from '#src/sys/echo-server.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const OWN = ip('127.0.0.1');
const PEER = ip('127.0.0.2');

/** A port of the peer's at which nothing listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.2');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('a connection is answered or refused, and what it is asked comes back', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (text) => socket.end(`heard ${text}`));
  }).listen(0, '127.0.0.2');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const target = { from: OWN, to: PEER, port, timeoutMs: 5_000 };
  assert.deepEqual(await systemDialer.connect(target), { outcome: 'answered' });
  assert.deepEqual(await systemDialer.connect(target, 'hello'), {
    outcome: 'answered',
    answer: 'heard hello',
  });
  const closed = { ...target, port: await closedPort() };
  assert.deepEqual(await systemDialer.connect(closed), { outcome: 'refused' });
  const foreign = { ...target, from: ip('192.0.2.200') };
  assert.deepEqual(await systemDialer.connect(foreign), { outcome: 'failed' });
});

test('a connection that says nothing ends in time', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.2');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const target = { from: OWN, to: PEER, port, timeoutMs: 1_000 };
  assert.deepEqual(await systemDialer.connect(target, 'hello'), { outcome: 'answered', answer: '' });
});

test('a datagram comes back from an accepted sender alone, with a checksum or without', async (t) => {
  const port = await closedPort();
  const echo = await systemEchoServers.listen({ address: PEER, port }, (from) => from === OWN);
  t.after(() => echo.close());
  const target = { from: OWN, to: PEER, port, timeoutMs: 5_000 };
  for (const checksum of [true, false])
    assert.equal(await systemDialer.datagram(target, { checksum }), 'answered');
  const stranger = { ...target, from: ip('127.0.0.3'), timeoutMs: 50 };
  assert.equal(await systemDialer.datagram(stranger, { checksum: true }), 'silent');
  assert.equal(
    await systemDialer.datagram({ ...target, port: await closedPort() }, { checksum: true }),
    'refused',
  );
  const foreign = { ...target, from: ip('192.0.2.200') };
  assert.equal(await systemDialer.datagram(foreign, { checksum: true }), 'failed');
});

test('an echo server leaves a port alone that another program has', async (t) => {
  const other = createSocket('udp4').bind(0, '127.0.0.2');
  t.after(() => other.close());
  await once(other, 'listening');
  const { port } = other.address();
  await assert.rejects(
    systemEchoServers.listen({ address: PEER, port }, () => true),
    { code: 'EADDRINUSE' },
  );
});
