import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { scratchFolder } from './scratch-folder.ts';

export const socketIn = (t: TestContext): string => join(scratchFolder(t), 'socket');

/** A program that holds the socket and calls this for each connection, after its first bytes. */
export async function holder(
  t: TestContext,
  path: string,
  answer: (socket: Socket, request: string) => void,
): Promise<void> {
  const server = createServer((socket) => {
    t.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.once('data', (data) => answer(socket, data.toString()));
  });
  t.after(() => server.close());
  server.listen(path);
  await once(server, 'listening');
}
