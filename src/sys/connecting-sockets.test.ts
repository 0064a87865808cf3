import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate as later } from 'node:timers/promises';
import { ConnectingSockets } from '#src/sys/connecting-sockets.ts';

/** Of TEST-NET-1 (RFC 5737): no host answers. */
const NOBODY = { host: '192.0.2.1', port: 9 };

test('what still connects is destroyed, and what is connected stays', async (t) => {
  const server = createServer((socket) => void socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new ConnectingSockets();
  const there = sockets.run(() => connect((server.address() as AddressInfo).port, '127.0.0.1'));
  t.after(() => {
    there.destroy();
    server.close();
  });
  await once(there, 'connect');
  const silent = sockets.run(() => connect(NOBODY));
  // A network that refuses at once is as good.
  silent.on('error', () => {});
  sockets.end();
  assert.equal(silent.destroyed, true);
  assert.equal(there.destroyed, false);
});

test('what begins to connect only after the end, from the same work', async () => {
  const sockets = new ConnectingSockets();
  const opened = sockets.run(async (): Promise<Socket> => {
    await later();
    const socket = connect(NOBODY);
    socket.on('error', () => {});
    return socket;
  });
  sockets.end();
  const socket = await opened;
  if (!socket.destroyed) await once(socket, 'close');
  assert.equal(socket.destroyed, true);
});

test('the sockets of others are not touched', () => {
  const sockets = new ConnectingSockets();
  const other = connect(NOBODY);
  other.on('error', () => {});
  sockets.end();
  assert.equal(other.destroyed, false);
  other.destroy();
});
