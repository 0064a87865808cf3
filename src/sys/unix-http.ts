import { request } from 'node:http';

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

/** An address, because node compiles a great regular expression to learn that a name is none: 15 ms of a start. */
const HOST = '127.0.0.1';
const MOST_BYTES = 4 << 20;

export const systemUnixHttp: UnixHttp = {
  get(socket, path, { timeoutMs, signal }) {
    return new Promise((resolve) => {
      const call = request({ socketPath: socket, path, headers: { host: HOST }, agent: false });
      const settle = (body: string | undefined) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', giveUp);
        resolve(body);
      };
      const giveUp = () => {
        settle(undefined);
        call.destroy();
      };
      // For the whole answer: one that comes byte by byte must not hold up the caller.
      const timer = setTimeout(giveUp, timeoutMs);
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
};
