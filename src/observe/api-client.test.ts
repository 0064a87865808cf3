import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { HostEvent } from '#src/observe/api.ts';
import { askApi, followEvents } from '#src/observe/api-client.ts';
import { formatEvent, HEARTBEAT } from '#src/observe/event-stream.ts';
import { holder, socketIn } from '../../test/support/socket-holder.ts';

const PEERS = { peers: [] };
const VERSION = 'Weft-Api: 1\r\n';
const answer = (body: string, head = VERSION, status = '200 OK'): string =>
  `HTTP/1.1 ${status}\r\n${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const event = (id: number): HostEvent => ({
  id,
  at: '2026-01-01T00:00:00.000Z',
  type: 'repair',
  severity: 'warning',
  subject: 'eth0',
  text: `repaired ${id}`,
  count: 1,
  firstAt: '2026-01-01T00:00:00.000Z',
});
const STREAM = `HTTP/1.1 200 OK\r\n${VERSION}Content-Type: text/event-stream\r\n\r\n`;

async function messageFrom(work: Promise<unknown>, socket: string): Promise<unknown> {
  const error = await work.then(
    () => assert.fail('it did not throw'),
    (thrown: unknown) => thrown as { code?: string; message: string },
  );
  return [error.code, error.message.replaceAll(socket, 'SOCKET')];
}

test('an answer is a value', async (t) => {
  const socket = socketIn(t);
  const requests: string[] = [];
  await holder(t, socket, (connection, request) => {
    requests.push(request.split('\r\n')[0] ?? '');
    connection.end(answer(JSON.stringify(PEERS)));
  });
  assert.deepEqual(await askApi(socket, '/v1/peers'), PEERS);
  assert.deepEqual(requests, ['GET /v1/peers HTTP/1.1']);
});

const FAILURES: readonly [what: string, answer: string | undefined, code: string, message: RegExp][] = [
  ['nobody holds the socket', undefined, 'not-running', /^no flanneld serves this network on this host/],
  ['the answer stops', answer('{}').slice(0, -1), 'silent', /^flanneld holds its socket but does not answer/],
  ['another program answers', '220 ready\r\n', 'not-flanneld', /answers at SOCKET: it is not HTTP$/],
  ['another program answers with text', answer('hello'), 'not-flanneld', /not JSON: "hello"$/],
  [
    'it has no such version',
    answer('{"version":"0.9"}', ''),
    'local-api',
    /^the flanneld at SOCKET is older/,
  ],
  [
    'it refuses',
    answer('{"error":"there is no peer"}', VERSION, '404 Not Found'),
    'local-api',
    /^flanneld at SOCKET refused \/v1\/peers: there is no peer$/,
  ],
];

for (const [what, bytes, code, message] of FAILURES) {
  test(`a question fails when ${what}`, async (t) => {
    const socket = socketIn(t);
    if (bytes !== undefined) await holder(t, socket, (connection) => connection.end(bytes));
    const [found, text] = (await messageFrom(askApi(socket, '/v1/peers'), socket)) as [string, string];
    assert.equal(found, code);
    assert.match(text, message);
  });
}

/** A daemon that sends these bytes as its stream, each by itself, and then keeps the connection. */
async function stream(t: TestContext, parts: readonly string[], after?: (socket: Socket) => void) {
  const socket = socketIn(t);
  const requests: string[] = [];
  await holder(t, socket, (connection, request) => {
    requests.push(request);
    connection.write(STREAM);
    for (const part of parts) connection.write(part);
    after?.(connection);
  });
  return { socket, requests };
}

test('events come one by one, whatever pieces their bytes come in', async (t) => {
  const bytes = [1, 2, 3].map((id) => formatEvent(event(id))).join(HEARTBEAT);
  const { socket, requests } = await stream(t, [bytes.slice(0, 30), bytes.slice(30, 250), bytes.slice(250)]);
  const got: HostEvent[] = [];
  for await (const each of followEvents(socket, { after: 7 }, t.signal)) {
    got.push(each);
    if (got.length === 3) break;
  }
  assert.deepEqual(got, [event(1), event(2), event(3)]);
  assert.match(requests[0] ?? '', /^GET \/v1\/events\?after=7 HTTP\/1\.1\r\n/);
  assert.match(requests[0] ?? '', /\r\naccept: text\/event-stream\r\n/i);
});

test('a follower learns of the end of the daemon, of its silence, and ends with its signal', async (t) => {
  const drain = async (socket: string, silenceMs: number, signal: AbortSignal): Promise<void> => {
    for await (const _ of followEvents(socket, { silenceMs }, signal));
  };
  const ended = await stream(t, [formatEvent(event(1))], (socket) => socket.end());
  await assert.rejects(drain(ended.socket, 60_000, t.signal), { code: 'not-running' });
  const silent = await stream(t, [formatEvent(event(1))]);
  await assert.rejects(drain(silent.socket, 100, t.signal), { code: 'silent' });
  const stopper = new AbortController();
  const aborted = await stream(t, [], () => stopper.abort(new Error('enough')));
  await assert.rejects(drain(aborted.socket, 60_000, stopper.signal), { message: 'enough' });
});

test('a daemon from before version 1, which answers everything with its status, is named', async (t) => {
  const socket = socketIn(t);
  await holder(t, socket, (connection) => connection.end(answer('{"version":"0.9"}', '')));
  const first = followEvents(socket, {}, t.signal).next();
  await assert.rejects(first, { code: 'local-api', message: /older than this command/ });
});
