import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, linkSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { PluginServer } from '#src/driver/plugin-server.ts';
import { messageOf } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { RecordingDrivers } from '../../test/support/recording-drivers.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

const IDS = JSON.stringify({ NetworkID: 'a'.repeat(64), EndpointID: 'b'.repeat(64) });

function serverAt(path: string) {
  const drivers = new RecordingDrivers();
  const { network, addresses } = drivers;
  const server = new PluginServer({ network, addresses, clock: systemClock, logger: silentLogger }, { path });
  return { drivers, server };
}

async function serve(t: TestContext, path = join(scratchFolder(t), 'docker/plugins/weft.sock')) {
  const { drivers, server } = serverAt(path);
  await server.start();
  t.after(() => server.stop());
  return { path, drivers, server };
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
  readonly connection: string | undefined;
}

function post(path: string, call: string, body: string | Buffer, agent?: Agent): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const options = { socketPath: path, path: `/${call}`, method: 'POST', ...(agent && { agent }) };
  const sent = request({ ...options, headers: { host: '', 'content-length': body.length } }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('error', reject);
    response.on('end', () => {
      const { statusCode: status, headers } = response;
      resolve({ status, body: text, connection: headers.connection });
    });
  });
  sent.on('error', reject);
  sent.end(body);
  return promise;
}

/** Bytes as they are; what came back until the server closed the connection, or `until` matches. */
async function raw(t: TestContext, path: string, bytes: string, pattern?: RegExp): Promise<string> {
  const socket = connect(path);
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(bytes);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const what = `answer to ${JSON.stringify(bytes)}`;
  await until(() => socket.closed || pattern?.test(text), { what, timeoutMs: 20_000 });
  return text;
}

test('calls as dockerd sends them: no Content-Type, an odd Host, one connection for several', async (t) => {
  const { path, drivers } = await serve(t);
  const call = (host: string, body: string) =>
    `POST /NetworkDriver.Leave HTTP/1.1\r\n${host}User-Agent: Go-http-client/1.1\r\nContent-Length: ${body.length}\r\n` +
    `Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n${body}`;
  const calls = ['Host: \r\n', 'Host: %2Frun%2Fweft.sock\r\n', 'Host: plugin.moby.localhost\r\n', ''].map(
    (host) => call(host, IDS),
  );
  const text = await raw(t, path, calls.join(''), /(HTTP\/1\.1 200 OK[^{]*\{\}){4}/s);
  assert.doesNotMatch(text, /Connection: close/i);
  assert.equal(drivers.calls.length, 4);
});

test('hostile bodies change nothing, and the next call is answered', async (t) => {
  const { path, drivers } = await serve(t);
  const options = Object.fromEntries(
    Array.from({ length: 40_000 }, (_, n) => [`option-${n}`, 'x'.repeat(20)]),
  );
  const bodies = [
    '',
    '{"NetworkID":',
    '[]',
    JSON.stringify({ NetworkID: 7 }),
    JSON.stringify({ NetworkID: 'a'.repeat(64), Options: options }),
    Buffer.alloc(20 << 20, '{'),
    '['.repeat(1 << 19) + ']'.repeat(1 << 19),
  ];
  for (const body of bodies)
    assert.equal((await post(path, 'NetworkDriver.CreateNetwork', body)).status, 400);
  assert.deepEqual(drivers.calls, []);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  assert.equal((await post(path, 'NetworkDriver.Leave', Buffer.alloc(2 << 20), agent)).status, 400);
  assert.equal((await post(path, 'NetworkDriver.Leave', IDS, agent)).status, 200);
});

test('what is no request of HTTP, or ends in the middle, reaches no driver', async (t) => {
  const { path, drivers } = await serve(t);
  assert.match(await raw(t, path, 'hello\r\n\r\n'), /^HTTP\/1\.1 400 /);
  const half = 'POST /NetworkDriver.Leave HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{"NetworkID":';
  const gone = connect(path);
  await once(gone, 'connect');
  gone.end(half);
  await once(gone.resume(), 'close');
  assert.deepEqual(drivers.calls, []);
});

test('many at once', async (t) => {
  const { path, drivers } = await serve(t);
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => post(path, 'NetworkDriver.Leave', IDS)),
  );
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(drivers.calls.length, 200);
});

test('only root may call', async (t) => {
  const { path } = await serve(t);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('a stop refuses new connections, answers what has come, and leaves no file', async (t) => {
  const { path, drivers, server } = await serve(t);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  assert.equal((await post(path, 'NetworkDriver.DeleteEndpoint', IDS, agent)).connection, 'keep-alive');
  const work = Promise.withResolvers<never>();
  drivers.instead.set('leave', () => work.promise);
  const running = post(path, 'NetworkDriver.Leave', IDS);
  await until(() => drivers.calls.length === 2, { what: 'call' });
  let stopped = false;
  const stop = server.stop().then(() => {
    stopped = true;
  });
  assert.equal(existsSync(path), false);
  await assert.rejects(post(path, 'NetworkDriver.Leave', IDS), { code: 'ENOENT' });
  assert.equal(stopped, false);
  work.reject(new Error('ended'));
  const { status, connection } = await running;
  assert.deepEqual([status, connection], [200, 'close']);
  await stop;
});

test('the socket of a process that has ended is replaced', async (t) => {
  const path = join(scratchFolder(t), 'weft.sock');
  const dead = createServer().listen(path);
  await once(dead, 'listening');
  // As a SIGKILL leaves it: node would remove the file.
  const kept = `${path}.kept`;
  linkSync(path, kept);
  await new Promise((resolve) => dead.close(resolve));
  renameSync(kept, path);
  await serve(t, path);
  assert.equal((await post(path, 'NetworkDriver.Leave', IDS)).status, 200);
});

test('a socket that is served, and what is no socket, are left alone', async (t) => {
  const { path } = await serve(t);
  const refused = async (at: string): Promise<string> => {
    const { server } = serverAt(at);
    try {
      await server.start();
    } catch (error) {
      return messageOf(error).replaceAll(at, 'SOCKET');
    }
    await server.stop();
    return 'it started';
  };
  assert.equal(
    await refused(path),
    "could not serve Docker's driver on SOCKET: another process serves it; " +
      '"ss -xlp src SOCKET" names it; stop it, or enable weft-docker.socket if that is systemd',
  );
  assert.equal((await post(path, 'NetworkDriver.Leave', IDS)).status, 200);
  const file = join(scratchFolder(t), 'weft.sock');
  writeFileSync(file, 'mine');
  assert.match(await refused(file), /a file that is no socket is there; move it away$/);
  assert.match(await refused('/proc/weft.sock'), /; run as root, and see that its folder can be written$/);
});

test('of several that start at one instant one serves', async (t) => {
  const path = join(scratchFolder(t), 'weft.sock');
  const servers = Array.from({ length: 5 }, () => serverAt(path).server);
  const started = await Promise.allSettled(servers.map((server) => server.start()));
  const serving = servers.filter((_, n) => started[n]?.status === 'fulfilled');
  t.after(() => Promise.all(serving.map((server) => server.stop())));
  assert.equal(serving.length, 1);
  assert.equal((await post(path, 'NetworkDriver.Leave', IDS)).status, 200);
});
