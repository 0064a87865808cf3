import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { socketIn } from './socket-holder.ts';

/** Both ends of one HTTP answer over a unix socket, whose reader reads nothing until the test does. */
export interface OpenAnswer {
  readonly answer: ServerResponse;
  /** Resolves when the head of the answer has come. */
  readonly head: Promise<IncomingMessage>;
}

export async function openAnswer(t: TestContext): Promise<OpenAnswer> {
  const socketPath = socketIn(t);
  const answering = Promise.withResolvers<ServerResponse>();
  const server = createServer((_, response) => answering.resolve(response)).listen(socketPath);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const head = Promise.withResolvers<IncomingMessage>();
  get({ socketPath, host: '127.0.0.1' }, head.resolve).on('error', () => {});
  const answer = await answering.promise;
  answer.on('error', () => {});
  return { answer, head: head.promise };
}
