import { WeftError } from '#src/lib/errors.ts';
import type { Answers, HostEvent, Refusal } from '#src/observe/api.ts';
import {
  type AskOptions,
  askSocket,
  type OpenAnswer,
  openAnswer,
  readJson,
  SocketSilent,
} from '#src/observe/ask-socket.ts';
import { EVENTS_TYPE, EventLines, VERSION_HEADER } from '#src/observe/event-stream.ts';

/**
 * Asks the flanneld that holds the socket for one thing that it knows.
 *
 * @throws {WeftError} `not-running` no process holds the socket; `silent` it holds the socket and gives no whole answer in
 *   time; `not-flanneld` another program answers; `local-api` this user must not ask, the flanneld is older than version 1
 *   of the API, or it refused, with its reason. Also throws the signal's reason.
 */
export async function askApi<P extends keyof Answers>(
  socket: string,
  path: P,
  options: AskOptions = {},
): Promise<Answers[P]> {
  const answer = present(socket, await askSocket(socket, path, options));
  const value = readJson(socket, answer.body);
  if (answer.status !== 200) throw refused(socket, path, value, answer.status);
  if (answer.headers[VERSION_HEADER] === undefined) throw tooOld(socket);
  return value as Answers[P];
}

export interface FollowOptions {
  /** Only events with a greater id. Default 0: those that the daemon remembers come first. */
  readonly after?: number;
  /** How long the daemon may send nothing, in milliseconds; it sends a heartbeat each 10 s. Default 30,000. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 30_000;

/**
 * The events of a host, oldest first, and then each as it comes. An event that happens again comes again, with another id
 * and a greater `count`; `type`, `subject`, `text` and `firstAt` are those of the one that it replaces.
 *
 * @throws {WeftError} as {@link askApi}; `not-running` also when the daemon ends. Throws the signal's reason when it aborts.
 */
export async function* followEvents(
  socket: string,
  { after = 0, silenceMs = SILENCE_MS }: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<HostEvent, never> {
  const path = `/v1/events?after=${after}`;
  const opened = await openAnswer(socket, { path, accept: EVENTS_TYPE, silenceMs, signal });
  signal.throwIfAborted();
  const { response } = present(socket, opened);
  try {
    if (response.statusCode !== 200 || response.headers[VERSION_HEADER] === undefined)
      return await refuse(socket, path, { response });
    const lines = new EventLines();
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>)
      for (const event of lines.take(chunk)) yield event;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof WeftError) throw error;
    if (error instanceof SocketSilent) return present<never>(socket, 'silent');
  } finally {
    // A reader that stops ends the answer.
    response.destroy();
  }
  signal.throwIfAborted();
  return present<never>(socket, undefined);
}

/** Throws what the absence of an answer means. */
function present<T extends object>(socket: string, answer: T | 'silent' | undefined): T {
  if (answer === undefined) {
    throw new WeftError('not-running', `no flanneld serves this network on this host (${socket})`, {
      remedy:
        'look at "systemctl status flanneld"; --etcd-prefix and --state-dir must be those of the daemon',
    });
  }
  if (answer === 'silent') {
    throw new WeftError('silent', `flanneld holds its socket but does not answer (${socket})`, {
      remedy: 'look at its log and at its load; restart it if it does not recover',
    });
  }
  return answer;
}

async function refuse(socket: string, path: string, { response }: OpenAnswer): Promise<never> {
  if (response.statusCode === 200) throw tooOld(socket);
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  throw refused(socket, path, readJson(socket, Buffer.from(text)), response.statusCode ?? 0);
}

/** A flanneld from before version 1 of the API answers every path with its status. */
const tooOld = (socket: string): WeftError =>
  new WeftError('local-api', `the flanneld at ${socket} is older than this command, and can't answer it`, {
    remedy: 'restart it: systemctl restart flanneld',
  });

function refused(socket: string, path: string, body: unknown, status: number): WeftError {
  const { error = `HTTP status ${status}` } = (body ?? {}) as Partial<Refusal>;
  return new WeftError('local-api', `flanneld at ${socket} refused ${path}: ${error}`);
}
