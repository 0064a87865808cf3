import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { VERSION_HEADER } from '#src/observe/event-stream.ts';
import { deadlineIn } from '#src/sys/timer.ts';

/** What of a local API the page may read. */
export const PROXIED = ['status', 'peers', 'leases', 'view', 'events', 'counters', 'openapi'] as const;

/** How long an answer may take to begin. */
const BEGIN_MS = 10_000;

/**
 * Passes a request for one path of the local API on, and the answer back as it comes: server-sent events, too. Only what
 * the answer needs goes on: no cookie, no header of the page.
 */
export function passOn(
  socket: string,
  {
    path,
    accept,
    lastEventId,
  }: { path: string; accept: string | undefined; lastEventId: string | undefined },
  incoming: IncomingMessage,
  response: ServerResponse,
): void {
  const headers = {
    host: '127.0.0.1',
    ...(accept !== undefined && { accept }),
    ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
  };
  const call = request({ socketPath: socket, path, headers, agent: false });
  const tooLate = deadlineIn(BEGIN_MS);
  const giveUp = (): void => void call.destroy(new Error('no answer'));
  tooLate.addEventListener('abort', giveUp);
  incoming.once('close', () => call.destroy());
  response.once('close', () => call.destroy());
  call.on('response', (answer) => {
    tooLate.removeEventListener('abort', giveUp);
    if (answer.headers[VERSION_HEADER] === undefined) {
      // A flanneld from before version 1 of the API answers every path with its status.
      answer.resume();
      return refuse(response, `the flanneld at ${socket} is older than this page: restart it`);
    }
    response.writeHead(answer.statusCode ?? 502, {
      'content-type': answer.headers['content-type'] ?? 'application/json',
      'cache-control': 'no-store',
    });
    // Events may not come for a while.
    response.flushHeaders();
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  call.on('error', (error) => {
    tooLate.removeEventListener('abort', giveUp);
    if (response.headersSent) return void response.destroy();
    refuse(response, `flanneld does not answer at ${socket}: ${error.message}`);
  });
  call.end();
}

function refuse(response: ServerResponse, error: string): void {
  response.writeHead(502, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error }));
}
