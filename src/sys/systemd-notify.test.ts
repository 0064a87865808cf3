import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import koffi from 'koffi';
import { WeftError } from '#src/lib/errors.ts';
import { serviceManager } from '#src/sys/systemd-notify.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

const libc = koffi.load(null);
const open = libc.func('int socket(int, int, int)');
const bind = libc.func('int bind(int, const void *, uint32_t)');
const recv = libc.func('long recv(int, _Out_ uint8_t *, size_t, int)');
const close = libc.func('int close(int)');

const refuse = (error: unknown): never => {
  throw error;
};

/** Systemd's side: a bound datagram socket (AF_UNIX, SOCK_DGRAM), and what it received. */
async function receive(socket: string, send: () => Promise<void>): Promise<string[]> {
  const fd = open(1, 2, 0);
  const path = Buffer.from(socket.replace(/^@/, '\0'));
  const address = Buffer.concat([Buffer.from([1, 0]), path]);
  assert.equal(bind(fd, address, address.length), 0);
  try {
    await send();
    const messages: string[] = [];
    const buffer = Buffer.alloc(4096);
    for (;;) {
      const size: number = recv(fd, buffer, buffer.length, 0x40); // MSG_DONTWAIT
      if (size < 0) return messages;
      messages.push(buffer.toString('utf8', 0, size));
    }
  } finally {
    close(fd);
  }
}

async function wholeLife(socket: string): Promise<void> {
  const systemd = serviceManager({ NOTIFY_SOCKET: socket }, refuse);
  await systemd.status('waiting for\netcd');
  await systemd.ready('10.0.65.0/24, 2 peers');
  await systemd.stopping();
}
const LIFE = ['STATUS=waiting for etcd', 'READY=1\nSTATUS=10.0.65.0/24, 2 peers', 'STOPPING=1'];

test('systemd is notified through a socket with a path', async (t) => {
  const socket = join(scratchFolder(t), 'notify');
  assert.deepEqual(await receive(socket, () => wholeLife(socket)), LIFE);
});

test('systemd is notified through an abstract socket', async () => {
  const socket = `@weft-notify-${process.pid}`;
  assert.deepEqual(await receive(socket, () => wholeLife(socket)), LIFE);
});

test('a sign of life goes to systemd where it asks for one of this process', async () => {
  const socket = `@weft-notify-watchdog-${process.pid}`;
  const managerOf = (environment: Readonly<Record<string, string>>) =>
    serviceManager({ NOTIFY_SOCKET: socket, ...environment }, refuse, 7);
  assert.deepEqual(await receive(socket, () => managerOf({}).alive()), ['WATCHDOG=1']);
  assert.equal(managerOf({ WATCHDOG_USEC: '30000000' }).watchdogMs, 30_000);
  assert.equal(managerOf({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '7' }).watchdogMs, 30_000);
  assert.equal(managerOf({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' }).watchdogMs, undefined);
  for (const text of ['', '0', '-1', 'soon'])
    assert.equal(managerOf({ WATCHDOG_USEC: text }).watchdogMs, undefined);
  assert.equal(serviceManager({ WATCHDOG_USEC: '1' }, refuse).watchdogMs, undefined);
});

test('a message waits for room in a full receive buffer', async () => {
  const socket = `@weft-notify-full-${process.pid}`;
  const sent = 50; // More than net.unix.max_dgram_qlen.
  const messages: string[] = [];
  const fd = open(1, 2, 0);
  const address = Buffer.from(`\u0001\0\0${socket.slice(1)}`);
  assert.equal(bind(fd, address, address.length), 0);
  try {
    const systemd = serviceManager({ NOTIFY_SOCKET: socket }, refuse);
    const buffer = Buffer.alloc(4096);
    let done = false;
    const sending = Promise.all(
      Array.from({ length: sent }, (_, index) => systemd.status(String(index))),
    ).finally(() => {
      done = true;
    });
    for (let empty = false; !(done && empty); ) {
      // The senders go first, until the buffer is full.
      await new Promise((resolve) => setImmediate(resolve));
      const size: number = recv(fd, buffer, buffer.length, 0x40);
      empty = size < 0;
      if (!empty) messages.push(buffer.toString('utf8', 0, size));
    }
    await sending;
  } finally {
    close(fd);
  }
  assert.equal(new Set(messages).size, sent);
});

test('a socket that is not there, or can be none, is one clear line and no more', async () => {
  const failure = async (socket: string): Promise<unknown> => {
    let said: unknown;
    await serviceManager({ NOTIFY_SOCKET: socket }, (error) => {
      said = error;
    }).stopping();
    assert.ok(said instanceof WeftError);
    assert.equal(said.code, 'systemd');
    return said.message;
  };
  assert.equal(
    await failure('/nonexistent/notify'),
    'Can\'t send systemd "STOPPING=1" at /nonexistent/notify: sendto: ENOENT',
  );
  assert.equal(
    await failure('vsock:2:1234'),
    'NOTIFY_SOCKET=vsock:2:1234 is neither the path nor the @name of a unix socket',
  );
  await failure(`/${'x'.repeat(108)}`);
});

test('without NOTIFY_SOCKET nothing happens', async () => {
  await serviceManager({}, refuse).ready('x');
  await serviceManager({ NOTIFY_SOCKET: '' }, refuse).stopping();
});
