import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { runningDeadlineIn } from '#src/sys/timer.ts';

/** One question over HTTP and what came back, whatever it was: for programs that look whether something answers. */
export interface HttpQuestion {
  /** `http://172.16.70.190:2379/health` */
  readonly url: string;
  /** JSON that is posted; without it the question is a GET. */
  readonly body?: string;
  /** For the whole answer. */
  readonly timeoutMs: number;
  /** For https: an agent that has the certificates. */
  readonly agent?: RequestOptions['agent'];
  readonly signal?: AbortSignal;
}

export type HttpOutcome =
  /** `date`: milliseconds since the epoch, what the other side takes for the time; to a second (RFC 9110 §6.6.1). */
  | { readonly kind: 'answer'; readonly status: number; readonly body: string; readonly date?: number }
  /** Nobody listens: a packet came back. */
  | { readonly kind: 'refused' }
  /** Nothing came back in time. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'failed'; readonly why: string };

export type AskHttp = (question: HttpQuestion) => Promise<HttpOutcome>;

const MOST_CHARACTERS = 1 << 16;

export const askHttp: AskHttp = async ({ url, body: question, timeoutMs, agent = false, signal }) => {
  const deadline = runningDeadlineIn(timeoutMs, signal);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const { protocol } = new URL(url);
    const options: RequestOptions = {
      ...{ method: question === undefined ? 'GET' : 'POST', signal: deadline, agent },
      ...(protocol === 'https:' && { protocol }),
      ...(question !== undefined && {
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(question) },
      }),
    };
    request(url, options, resolve).once('error', reject).end(question);
    const response = await promise;
    let body = '';
    for await (const piece of response.setEncoding('utf8')) {
      body += piece;
      if (body.length > MOST_CHARACTERS) return { kind: 'failed', why: 'the answer is too long' };
    }
    const date = Date.parse(response.headers.date ?? '');
    return {
      ...{ kind: 'answer', status: response.statusCode ?? 0, body },
      ...(!Number.isNaN(date) && { date }),
    };
  } catch (error) {
    if (deadline.aborted) return { kind: 'silent' };
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (code === 'ECONNREFUSED') return { kind: 'refused' };
    return SILENCE.includes(code) ? { kind: 'silent' } : { kind: 'failed', why: message };
  }
};

/** What the kernel says when nothing came back, or a router says that nothing can. */
const SILENCE = ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'];
