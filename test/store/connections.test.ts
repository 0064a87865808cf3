import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { ConnectionListener, type ListenerOptions } from '#src/store/connection-listener.ts';
import { startStoreServer } from '#src/store/store-server.ts';
import { systemClock } from '#src/sys/clock.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

/** Connections that are held open and say little. */

interface Scope {
  after(cleanUp: () => Promise<void> | void): void;
}

/** A listener that keeps what it accepts. */
async function listen(scope: Scope, options: ListenerOptions) {
  const http2: Socket[] = [];
  const listener = new ConnectionListener(
    { http2: (socket) => http2.push(socket), http1: (_, response) => response.end('page') },
    options,
  );
  scope.after(() => listener.close());
  const port = await listener.listen('127.0.0.1', 0);
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    scope.after(() => void socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  return { listener, http2, open };
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.destroyed) resolve();
    socket.on('close', () => resolve()).resume();
  });

test('a client that sends its first bytes, its headers or its next request too slowly is dropped', async (context) => {
  const { open } = await listen(context, { greetingMs: 1500 });
  const [silent, headers, idle, greeted] = await Promise.all([open(), open(), open(), open()]);
  const drip = setInterval(() => headers?.write('a'), 20);
  context.after(() => clearInterval(drip));
  headers?.write('GET / HTTP/1.1\r\nHost: x\r\nX-A: ');
  idle?.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  greeted?.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.ok(silent && headers && idle && greeted);
  const [page] = (await once(idle, 'data')) as [Buffer];
  assert.match(String(page), /page/);
  await Promise.all([silent, headers, idle, greeted].map(closed));
});

test('connections of one address and newcomers are bounded', async (context) => {
  const { open } = await listen(context, { limits: { perAddress: 3, newcomers: 2 } });
  const first = await open();
  const second = await open();
  const third = await open();
  // The oldest that said nothing made room, so that its address has room again.
  await closed(first);
  const fourth = await open();
  await closed(second);
  assert.equal(third.destroyed || fourth.destroyed, false);
});

test('after a few failed logins the next one waits, also with the right password', async (context) => {
  const folder = scratchFolder(context);
  const slept: number[] = [];
  const clock = {
    ...systemClock,
    // Pauses of logins can't be stopped; timers can.
    sleep: async (ms: number, signal?: AbortSignal) => {
      if (signal !== undefined) await systemClock.sleep(ms, signal);
      else slept.push(ms);
    },
  };
  const store = await startStoreServer(
    { clock, log: silentLogger, fatal: (error) => assert.fail(String(error)) },
    { data: join(folder, 'store.db'), host: '127.0.0.1', port: 0, users: new Map([['root', 'secret']]) },
  );
  context.after(() => store.close());
  const api = new EtcdApi(store.url);
  context.after(() => api.close());
  const login = (password: string) => api.answer(api.auth, api.auth.authenticate, { name: 'root', password });
  for (let n = 0; n < 6; n++) {
    assert.deepEqual(await login('wrong'), {
      error: 'INVALID_ARGUMENT etcdserver: authentication failed, invalid user ID or password',
    });
  }
  assert.ok('response' in (await login('secret')));
  assert.deepEqual(slept, [250, 500, 1000]);
});
