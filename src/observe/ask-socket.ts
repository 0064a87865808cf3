import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { WeftError } from '#src/lib/errors.ts';
import { runningDeadlineIn, startSilenceTimer } from '#src/sys/timer.ts';

/*
 * Questions to a daemon over its unix socket. Each outcome that a caller can expect has a value: nobody listens, or the
 * daemon is too slow.
 */

export interface AskOptions {
  /** How long the holder of the socket may send nothing, in milliseconds. Default 2,000. */
  readonly silenceMs?: number;
  /** How long the whole answer may take, in milliseconds. Default 10,000. */
  readonly answerMs?: number;
  /** Default: GET. */
  readonly method?: 'GET' | 'POST';
  readonly signal?: AbortSignal;
}

export interface SocketAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** An answer that goes on. Its reader ends it with `response.destroy()`. */
export interface OpenAnswer {
  readonly response: IncomingMessage;
}

export interface OpenRequest {
  /** With the query. */
  readonly path: string;
  /** Default: GET. */
  readonly method?: 'GET' | 'POST';
  /** Default: JSON. */
  readonly accept?: string;
  /** The answer fails with a `SocketSilent` after so long without a byte. */
  readonly silenceMs: number;
  readonly signal?: AbortSignal;
}

/** The holder of the socket sent nothing for too long. */
export class SocketSilent extends Error {
  constructor() {
    super('the answer stopped');
    this.name = 'SocketSilent';
  }
}

const SILENCE_MS = 2_000;
const ANSWER_MS = 10_000;
/** What is known of 50,000 leases has 25 MB. */
const LONGEST_ANSWER = 64 * 2 ** 20;
/** An address, because for a name node compiles a large regular expression, which takes 15 ms of a start. */
const HOST = '127.0.0.1';

/**
 * `GET path`, and the whole answer of any HTTP status: `silent` when the holder of the socket gives no whole answer in
 * time, `undefined` when no process holds it. Throws WeftError `not-flanneld` when the answer is not HTTP or too long,
 * `local-api` when this user must not ask, and the signal's reason.
 */
export async function askSocket(
  socket: string,
  path: string,
  { silenceMs = SILENCE_MS, answerMs = ANSWER_MS, method = 'GET', signal }: AskOptions = {},
): Promise<SocketAnswer | 'silent' | undefined> {
  const deadline = runningDeadlineIn(answerMs, signal);
  const opened = await openAnswer(socket, { path, method, silenceMs, signal: deadline });
  signal?.throwIfAborted();
  if (opened === undefined || opened === 'silent') return opened;
  const { response } = opened;
  const body = await wholeBody(socket, response);
  signal?.throwIfAborted();
  // Without a length in its head, an answer that was given up seems to have come to its end.
  if (body === 'silent' || deadline.aborted) return 'silent';
  return { status: response.statusCode ?? 0, headers: response.headers, body };
}

/** The head of an answer; its body is read by the caller. The same outcomes as {@link askSocket}'s. */
export function openAnswer(
  socket: string,
  { path, method = 'GET', accept = 'application/json', silenceMs, signal }: OpenRequest,
): Promise<OpenAnswer | 'silent' | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<OpenAnswer | 'silent' | undefined>();
  let connected = false;
  const call = request({
    socketPath: socket,
    path,
    method,
    headers: { host: HOST, accept },
    agent: false,
    ...(signal !== undefined && { signal }),
  });
  let answer: IncomingMessage | undefined;
  const silence = startSilenceTimer(
    silenceMs,
    () => call.socket?.bytesRead ?? 0,
    () => {
      resolve('silent');
      (answer ?? call).destroy(new SocketSilent());
    },
  );
  call.on('close', silence.stop);
  call.on('response', (response) => {
    answer = response;
    resolve({ response });
  });
  call.on('socket', (connection) => {
    connection.once('connect', () => {
      connected = true;
    });
  });
  call.on('error', (error: NodeJS.ErrnoException) => {
    try {
      resolve(outcomeOf(socket, error, connected));
    } catch (refusal) {
      reject(refusal);
    }
  });
  call.end();
  return promise;
}

async function wholeBody(socket: string, response: IncomingMessage): Promise<Buffer | 'silent'> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > LONGEST_ANSWER) break;
    }
  } catch {
    // It ended in the middle, or the time is up.
    return 'silent';
  }
  return bytes > LONGEST_ANSWER
    ? notFlanneld(socket, `more than ${LONGEST_ANSWER} bytes`)
    : Buffer.concat(chunks);
}

function outcomeOf(socket: string, cause: NodeJS.ErrnoException, connected: boolean): 'silent' | undefined {
  const { code = '' } = cause;
  if (code === 'EACCES' || code === 'EPERM') {
    throw new WeftError('local-api', `could not ask flanneld at ${socket}: permission denied`, {
      remedy: 'ask as root',
      cause,
    });
  }
  if (code.startsWith('HPE_')) notFlanneld(socket, 'it is not HTTP', cause);
  // EAGAIN: the queue of waiting connections is full.
  return connected || code === 'EAGAIN' ? 'silent' : undefined;
}

/** The value that a body has. Throws WeftError `not-flanneld` when it is not JSON. */
export function readJson(socket: string, body: Buffer): unknown {
  const text = body.toString();
  try {
    return JSON.parse(text);
  } catch (cause) {
    return notFlanneld(socket, `not JSON: ${excerptOf(text)}`, cause);
  }
}

const EXCERPT = 60;
/** The beginning of an answer, quoted, for a message. */
export const excerptOf = (text: string): string => JSON.stringify(text.slice(0, EXCERPT));

export function notFlanneld(socket: string, what: string, cause?: unknown): never {
  throw new WeftError('not-flanneld', `another program than flanneld answers at ${socket}: ${what}`, {
    remedy: `"ss -xlp src ${socket}" names it; stop it, or choose another --state-dir`,
    cause,
  });
}
