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
