import { messageOf } from '#src/lib/errors.ts';
import { type Reply, refusal } from '#src/observe/reply.ts';

export interface ApiRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly url: string;
  /** The header; empty where there is none. */
  readonly accept: string;
}

/** What a handler may look at. */
export interface ApiQuestion {
  readonly query: URLSearchParams;
  readonly accept: string;
}

export type Handler = (question: ApiQuestion) => Reply | Promise<Reply>;
/** By path; `POST /path` for what changes something. */
export type Handlers = Readonly<Record<string, Handler>>;

/** The answer of the handler whose path it is; a {@link Refusal} where there is none, or it fails. */
export async function answerWith(handlers: Handlers, { method, url, accept }: ApiRequest): Promise<Reply> {
  const [path = '', query = ''] = url.split('?', 2);
  const posted = method === 'POST' && Object.hasOwn(handlers, `POST ${path}`);
  const key = posted ? `POST ${path}` : path;
  const handler = Object.hasOwn(handlers, key) ? handlers[key] : undefined;
  if (handler === undefined) {
    const paths = Object.keys(handlers).join(', ');
    return refusal(404, `could not answer ${quoted(path)}: there is no such path; there are ${paths}`);
  }
  if (method !== 'GET' && !posted)
    return refusal(405, `could not answer ${quoted(method)} ${path}: it is only read; use GET`);
  try {
    return await handler({ query: new URLSearchParams(query), accept });
  } catch (error) {
    return refusal(500, `could not answer ${path}: ${messageOf(error)}`);
  }
}

const LONGEST = 100;
const quoted = (text: string): string => JSON.stringify(text.slice(0, LONGEST));
