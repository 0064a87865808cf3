import { fieldsOf, textOf } from '#src/docker/docker-answers.ts';
import { negotiate } from '#src/docker/docker-version.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { HttpCall, HttpText, UnixHttpClient } from '#src/sys/unix-http.ts';

export interface DockerCallsComponents {
  readonly http: UnixHttpClient;
  readonly clock: Clock;
}

export interface DockerCallsOptions {
  /** The path of the engine's socket. */
  readonly socket: string;
}

/** For what Docker answers from memory. */
export const ANSWER_MS = 10_000;
/** It calls its drivers meanwhile, and tries each call for 15 s. */
const CHANGE_MS = 60_000;

/** Calls of Docker's Engine API over its socket, in the latest version that both speak. `what` ends "could not" in errors. */
export class DockerCalls {
  readonly #http: UnixHttpClient;
  readonly #socket: string;
  /** `/v1.47`; asked for again when the engine was away, for another may have come. */
  #prefix: string | undefined;

  constructor({ http }: DockerCallsComponents, { socket }: DockerCallsOptions) {
    this.#http = http;
    this.#socket = socket;
  }

  /** The answer's JSON; `undefined` for what is not there. */
  async get(what: string, path: string, signal: AbortSignal): Promise<unknown> {
    const answer = await this.call(what, { method: 'GET', path }, signal);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw refused(what, answer);
    return parsed(what, answer.body);
  }

  /** `timeoutMs`: default 10 s for what Docker only looks up, a minute for what it does. */
  async call(what: string, call: HttpCall, signal: AbortSignal, timeoutMs?: number): Promise<HttpText> {
    try {
      const prefix = await this.#version(what, signal);
      const versioned = { ...call, path: `${prefix}${call.path}` };
      const usual = call.method === 'GET' ? ANSWER_MS : CHANGE_MS;
      return await this.#http.call(this.#socket, versioned, { timeoutMs: timeoutMs ?? usual, signal });
    } catch (error) {
      throw this.#failed(what, error, signal);
    }
  }

  /** The lines of an answer that goes on and on. */
  async *lines(
    what: string,
    path: string,
    { signal, mostBytes }: { readonly signal: AbortSignal; readonly mostBytes: number },
  ): AsyncGenerator<unknown> {
    try {
      const versioned = `${await this.#version(what, signal)}${path}`;
      const options = { timeoutMs: ANSWER_MS, signal, mostBytes };
      const { status, lines } = await this.#http.lines(this.#socket, versioned, options);
      for await (const line of lines) {
        if (status !== 200) throw refused(what, { status, body: line });
        yield parsed(what, line);
      }
      throw new Error('it closed the connection');
    } catch (error) {
      throw this.#failed(what, error, signal);
    }
  }

  async #version(what: string, signal: AbortSignal): Promise<string> {
    if (this.#prefix !== undefined) return this.#prefix;
    const call = { method: 'GET', path: '/version' } as const;
    const answer = await this.#http.call(this.#socket, call, { timeoutMs: ANSWER_MS, signal });
    if (answer.status !== 200) throw refused(what, answer);
    this.#prefix = `/v${negotiate(parsed(what, answer.body))}`;
    return this.#prefix;
  }

  #failed(what: string, error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    if (error instanceof WeftError) return error;
    this.#prefix = undefined;
    const message = `could not ${what}: Docker at ${this.#socket}: ${messageOf(error)}`;
    return new WeftError('docker-api', message, {
      remedy: 'see that Docker runs, and that --docker-host names its socket',
      cause: error,
    });
  }
}

export const filters = (wanted: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${encodeURIComponent(JSON.stringify(wanted))}`;

/** Docker's own words. */
export function reasonOf({ status, body }: HttpText): string {
  let text = body;
  try {
    text = textOf(fieldsOf(JSON.parse(body)).message) || body;
  } catch {
    // Plain text.
  }
  return (
    text
      .trim()
      .replaceAll(/\s*\n\s*/g, ' ')
      .slice(0, LONGEST_REASON) || `HTTP status ${status}`
  );
}

const LONGEST_REASON = 1_000;

export const refused = (what: string, answer: HttpText): WeftError =>
  new WeftError('docker-refused', `could not ${what}: Docker says: ${reasonOf(answer)}`);

export function parsed(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('docker-api', `could not ${what}: Docker's answer is not JSON`, { cause });
  }
}
