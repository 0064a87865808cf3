import { type IncomingMessage, request } from 'node:http';
import { runningDeadlineIn, startSilenceTimer } from '#src/sys/timer.ts';

/** Asks programs of this host that serve HTTP on a unix socket. */
export interface UnixHttp {
  /**
   * The body of a 200; `undefined` without a listener, for another or too long an answer, and for
   * one that is late.
   */
  get(
    socket: string,
    path: string,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<string | undefined>;
}

/** Calls programs of this host that serve HTTP on a unix socket, where the reason of a failure matters. */
export interface UnixHttpClient {
  /**
   * A call and its whole answer, of any status. Throws the signal's reason, a `TimeoutError` when the answer is late, and
   * node's error when there is no listener or the answer is cut off or longer than 64 MiB.
   */
  call(socket: string, call: HttpCall, options: HttpCallOptions): Promise<HttpText>;

  /**
   * The lines of an answer that goes on and on. Resolves when the answer begins, and throws as `call` does. The lines end
   * with the answer. They throw the signal's reason, node's error when the answer is cut off, and a RangeError for a line of
   * more than `mostBytes`.
   */
  lines(
    socket: string,
    path: string,
    options: HttpCallOptions & { readonly mostBytes: number },
  ): Promise<HttpLines>;
}

export interface HttpCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** JSON. */
  readonly body?: string;
}

export interface HttpCallOptions {
  /** For the whole answer; of an answer in lines for its beginning. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface HttpText {
  readonly status: number;
  readonly body: string;
}

export interface HttpLines {
  readonly status: number;
  readonly lines: AsyncIterable<string>;
}

/** An address, because node compiles a great regular expression to learn that a name is none: 15 ms of a start. */
const HOST = '127.0.0.1';
const MOST_BYTES = 4 << 20;
const MOST_ANSWER_BYTES = 64 << 20;

export const systemUnixHttp: UnixHttp & UnixHttpClient = {
  get(socket, path, { timeoutMs, signal }) {
    return new Promise((resolve) => {
      const call = request({ socketPath: socket, path, headers: { host: HOST }, agent: false });
      const settle = (body: string | undefined) => {
        timer.stop();
        signal?.removeEventListener('abort', giveUp);
        resolve(body);
      };
      const giveUp = () => {
        settle(undefined);
        call.destroy();
      };
      // For the whole answer: one that comes byte by byte must not hold up the caller.
      const timer = startSilenceTimer(timeoutMs, () => 0, giveUp);
      signal?.addEventListener('abort', giveUp, { once: true });
      if (signal?.aborted) giveUp();
      call.on('error', giveUp);
      call.on('response', (response) => {
        if (response.statusCode !== 200) return giveUp();
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
          if (body.length > MOST_BYTES) giveUp();
        });
        response.on('end', () => settle(response.complete ? body : undefined));
        response.on('error', giveUp);
      });
      call.end();
    });
  },

  async call(socket, call, { timeoutMs, signal }) {
    const end = runningDeadlineIn(timeoutMs, signal);
    try {
      const response = await begin(socket, call, end);
      return { status: response.statusCode ?? 0, body: await wholeText(response) };
    } catch (error) {
      throw end.aborted ? end.reason : error;
    }
  },

  async lines(socket, path, { timeoutMs, signal, mostBytes }) {
    const end = new AbortController();
    const giveUp = (): void => end.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', giveUp, { once: true });
    const isLate = (): void => end.abort(new DOMException('no answer began', 'TimeoutError'));
    const timer = startSilenceTimer(timeoutMs, () => 0, isLate);
    try {
      const response = await begin(socket, { method: 'GET', path }, end.signal);
      timer.stop();
      const forget = (): void => signal.removeEventListener('abort', giveUp);
      response.once('close', forget);
      return { status: response.statusCode ?? 0, lines: linesOf(response, end.signal, mostBytes) };
    } catch (error) {
      timer.stop();
      signal.removeEventListener('abort', giveUp);
      throw end.signal.aborted ? end.signal.reason : error;
    }
  },
};

/** Resolves with the head of the answer; the signal destroys the connection, also later. */
function begin(
  socket: string,
  { method, path, body }: HttpCall,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = {
    host: HOST,
    ...(body !== undefined && {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    }),
  };
  const call = request({ socketPath: socket, method, path, headers, agent: false, signal });
  call.on('response', resolve);
  call.on('error', reject);
  call.end(body);
  return promise;
}

async function wholeText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_ANSWER_BYTES) throw new RangeError(`an answer of more than ${MOST_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const NEWLINE = 0x0a;

async function* linesOf(
  response: IncomingMessage,
  signal: AbortSignal,
  mostBytes: number,
): AsyncGenerator<string> {
  let chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
        chunks.push(chunk.subarray(from, at));
        if (bytes + at - from > mostBytes) throw tooLong(mostBytes);
        yield Buffer.concat(chunks).toString();
        [chunks, bytes, from] = [[], 0, at + 1];
      }
      chunks.push(chunk.subarray(from));
      bytes += chunk.length - from;
      if (bytes > mostBytes) throw tooLong(mostBytes);
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    // A caller that stops reading ends the answer.
    response.destroy();
  }
  if (bytes > 0) yield Buffer.concat(chunks).toString();
}

const tooLong = (most: number): RangeError => new RangeError(`a line of more than ${most} bytes`);
