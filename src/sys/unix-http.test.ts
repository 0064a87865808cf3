import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const socket = join(scratchFolder(t), 's');
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return socket;
}

const get = (socket: string, timeoutMs = 10_000) => systemUnixHttp.get(socket, '/version', { timeoutMs });

test('the body of an answer', async (t) => {
  const socket = await serve(t, (request, response) => response.end(`you asked for ${request.url}`));
  assert.equal(await get(socket), 'you asked for /version');
});

test('a socket without a listener gives no answer', async () => {
  assert.equal(await get('/nowhere/docker.sock'), undefined);
});

/** Answers that are none. */
const FAILURES: Readonly<Record<string, RequestListener>> = {
  'another status': (_, response) => response.writeHead(500).end('no'),
  'an answer that is cut': (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half', () => response.destroy());
  },
  'an answer without an end': (_, response) => {
    const chunk = 'x'.repeat(1 << 20);
    const more = (error?: Error | null): void => {
      if (error == null) response.write(chunk, more);
    };
    more();
  },
};

for (const [name, listener] of Object.entries(FAILURES)) {
  test(name, async (t) => assert.equal(await get(await serve(t, listener)), undefined));
}

test('an answer that does not come in time', async (t) => {
  assert.equal(await get(await serve(t, () => {}), 20), undefined);
  const begun = await serve(t, (_, response) => void response.write('{'));
  assert.equal(await get(begun, 20), undefined);
});

const call = (socket: string, timeoutMs = 10_000, signal = new AbortController().signal) =>
  systemUnixHttp.call(socket, { method: 'POST', path: '/x', body: '{"a":"ä"}' }, { timeoutMs, signal });

test('a call with a body, and its answer of any status', async (t) => {
  const socket = await serve(t, (request, response) => {
    request.setEncoding('utf8').once('data', (body: string) => {
      const { method, url, headers } = request;
      response.writeHead(409).end(`${method} ${url} ${headers['content-type']} ${body}`);
    });
  });
  assert.deepEqual(await call(socket), { status: 409, body: 'POST /x application/json {"a":"ä"}' });
});

test('a call throws when there is no listener, or no whole answer in time', async (t) => {
  await assert.rejects(call('/nowhere/docker.sock'), { code: 'ENOENT' });
  const cut = FAILURES['an answer that is cut'];
  assert.ok(cut);
  await assert.rejects(call(await serve(t, cut)), { code: 'ECONNRESET' });
  const begun = await serve(t, (_, response) => void response.write('{'));
  await assert.rejects(call(begun, 20), { name: 'TimeoutError' });
  await assert.rejects(call(begun, 10_000, AbortSignal.abort(new Error('stop'))), { message: 'stop' });
});

async function linesFrom(socket: string, signal = new AbortController().signal, timeoutMs = 10_000) {
  const read: string[] = [];
  const options = { timeoutMs, signal, mostBytes: 20 };
  const { lines } = await systemUnixHttp.lines(socket, '/events', options);
  return {
    read,
    end: (async () => {
      for await (const line of lines) read.push(line);
    })(),
  };
}

test('lines come one by one, however they are cut', async (t) => {
  const text = Buffer.from('one\ntwö\n\nthree');
  const socket = await serve(t, async (_, response) => {
    for (const byte of text) await new Promise((sent) => response.write(Buffer.of(byte), sent));
    response.end();
  });
  const { read, end } = await linesFrom(socket);
  await end;
  assert.deepEqual(read, ['one', 'twö', '', 'three']);
});

test('lines end with an error when the answer is cut, a line is too long, or the signal aborts', async (t) => {
  const cut = await serve(t, (_, response) => {
    response.write('one\nhalf', () => response.destroy());
  });
  const broken = await linesFrom(cut);
  await assert.rejects(broken.end, { code: 'ECONNRESET' });
  assert.deepEqual(broken.read, ['one']);
  const long = await serve(t, (_, response) => void response.write(`one\n${'x'.repeat(21)}`));
  await assert.rejects((await linesFrom(long)).end, {
    name: 'RangeError',
    message: 'a line of more than 20 bytes',
  });
  const stop = new AbortController();
  const silent = await serve(t, (_, response) => response.flushHeaders());
  const { end } = await linesFrom(silent, stop.signal);
  stop.abort(new Error('stop'));
  await assert.rejects(end, { message: 'stop' });
  await assert.rejects(linesFrom(silent, stop.signal), { message: 'stop' });
  await assert.rejects(linesFrom(await serve(t, () => {}), undefined, 20), { name: 'TimeoutError' });
});
