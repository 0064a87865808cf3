import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { askHttp } from '#src/sys/http-question.ts';

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  t.after(() => server.close().closeAllConnections());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/health`;
}

test('an answer of any status, with the other side’s time', async (t) => {
  const url = await serve(t, (_, response) => {
    response.writeHead(503, { date: 'Tue, 01 Jan 2030 00:00:00 GMT' }).end('{"health":"false"}');
  });
  assert.deepEqual(await askHttp({ url, timeoutMs: 5_000 }), {
    kind: 'answer',
    status: 503,
    body: '{"health":"false"}',
    date: Date.UTC(2030, 0, 1),
  });
});

test('one that does not answer, and one that nobody is', async (t) => {
  const url = await serve(t, () => {});
  assert.deepEqual(await askHttp({ url, timeoutMs: 50 }), { kind: 'silent' });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  assert.deepEqual(await askHttp({ url: `http://127.0.0.1:${port}/`, timeoutMs: 5_000 }), {
    kind: 'refused',
  });
});

test('an answer that came while this process was kept from running is none too late', async (t) => {
  const server = new Worker(
    `const { createServer } = require('node:http');
     const { parentPort } = require('node:worker_threads');
     const server = createServer((_, response) => response.end('yes'));
     server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  t.after(() => server.terminate());
  const [port] = await once(server, 'message');
  const asked = askHttp({ url: `http://127.0.0.1:${port}/`, timeoutMs: 1_000 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);
  assert.equal((await asked).kind, 'answer');
});
