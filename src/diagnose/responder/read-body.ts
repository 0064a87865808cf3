import type { IncomingMessage } from 'node:http';
import { WeftError } from '#src/lib/errors.ts';

/** Bytes of the longest request. */
const LONGEST_BODY = 64 * 1024;

/** The JSON value of a request; `undefined` when it has no body. Throws WeftError `responder-request`. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > LONGEST_BODY) throw refused(`it is longer than ${LONGEST_BODY} bytes`);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw refused('it is not JSON');
  }
}

const refused = (why: string): WeftError =>
  new WeftError('responder-request', `the request can not be read: ${why}`);
