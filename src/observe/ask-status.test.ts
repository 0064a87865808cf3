import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { messageOf } from '#src/lib/errors.ts';
import type { AskOptions } from '#src/observe/ask-socket.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { holder, socketIn } from '../../test/support/socket-holder.ts';

async function outcomeOf(path: string, options?: AskOptions): Promise<unknown> {
  try {
    return await askNode(path, options);
  } catch (error) {
    return messageOf(error).replaceAll(path, 'SOCKET');
  }
}

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n';
const REMEDY = '"ss -xlp src SOCKET" names it; stop it, or choose another --state-dir';
const notFlanneld = (what: string): string =>
  `another program than flanneld answers at SOCKET: ${what}; ${REMEDY}`;
const body = (text: string, status = '200 OK'): string =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;

/** What the holder of the socket does, and what askNode returns or throws. */
const HOLDERS: readonly [what: string, answer: (socket: Socket) => void, outcome: unknown][] = [
  ['ends in the middle of its answer', (socket) => socket.end(`${HEAD}{"a":`), 'silent'],
  [
    'is killed in the middle of its answer',
    (socket) => socket.write(`${HEAD}{"a":`, () => socket.destroy()),
    'silent',
  ],
  ['ends before its answer', (socket) => socket.end(), 'silent'],
  ['stops in the middle of its answer', (socket) => void socket.write(`${HEAD}{"a":`), 'silent'],
  ['says nothing', () => {}, 'silent'],
  ['answers with other text', (socket) => socket.end(body('a\nb')), notFlanneld('not JSON: "a\\nb"')],
  [
    'answers with other JSON',
    (socket) => socket.end(body('{"a":1}')),
    notFlanneld('not a status: "{\\"a\\":1}"'),
  ],
  ['answers with null', (socket) => socket.end(body('null')), notFlanneld('not a status: "null"')],
  ['knows no status', (socket) => socket.end(body('', '404 Not Found')), notFlanneld('HTTP status 404')],
  ['speaks no HTTP', (socket) => socket.end('220 ready\r\n'), notFlanneld('it is not HTTP')],
];

for (const [what, answer, outcome] of HOLDERS) {
  test(`a holder of the socket that ${what}`, async (t) => {
    const path = socketIn(t);
    await holder(t, path, answer);
    assert.equal(await outcomeOf(path, { silenceMs: 300 }), outcome);
  });
}

test('an answer that comes byte by byte has a deadline', async (t) => {
  const path = socketIn(t);
  await holder(t, path, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    const timer = setInterval(() => socket.write(' '), 5);
    socket.on('close', () => clearInterval(timer));
  });
  assert.equal(await askNode(path, { answerMs: 300 }), 'silent');
});

test('an answer without end is cut off', async (t) => {
  const path = socketIn(t);
  const chunk = Buffer.alloc(2 ** 20, ' ');
  await holder(t, path, (socket) => {
    const send = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    };
    socket.on('drain', send);
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    send();
  });
  assert.equal(await outcomeOf(path, { answerMs: 60_000 }), notFlanneld('more than 67108864 bytes'));
});
