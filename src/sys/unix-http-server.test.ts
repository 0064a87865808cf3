import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { type HttpRequest, UnixHttpServer } from '#src/sys/unix-http-server.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

async function exchange(socket: string, bytes: string): Promise<string> {
  const connection = connect(socket);
  connection.write(bytes);
  let text = '';
  connection.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(connection, 'close');
  return text;
}

test('a request that does not come in whole in its time is answered 408', async (t) => {
  const requests: HttpRequest[] = [];
  const answer = async (request: HttpRequest) => {
    requests.push(request);
    return { status: 200, body: '{}' };
  };
  const serve = async (requestMs: number): Promise<string> => {
    const socket = join(scratchFolder(t), 's');
    const server = new UnixHttpServer({ answer }, { socket, mostBodyBytes: 10, requestMs });
    await server.start();
    t.after(() => server.stop());
    return socket;
  };
  const hasty = await serve(50);
  const head = 'POST /x HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n';
  assert.match(await exchange(hasty, `${head}1234`), /^HTTP\/1\.1 408 /);
  assert.match(await exchange(hasty, 'POST /x HTTP'), /^HTTP\/1\.1 408 /);
  assert.deepEqual(requests, []);
  assert.match(await exchange(await serve(60_000), `${head}12345`), /^HTTP\/1\.1 200 OK.*\{\}$/s);
  assert.deepEqual(requests, [{ method: 'POST', path: '/x', body: Buffer.from('12345') }]);
});
