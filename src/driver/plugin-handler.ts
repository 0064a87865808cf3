import { CallBody, CallError } from '#src/driver/call-body.ts';
import type { CallCounts } from '#src/driver/call-counts.ts';
import { Lane } from '#src/driver/lane.ts';
import { type Answer, FIXED_ANSWERS, METHODS, type PluginDrivers } from '#src/driver/plugin-methods.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { HttpAnswer, HttpRequest } from '#src/sys/unix-http-server.ts';

export interface PluginHandlerComponents extends PluginDrivers {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: nothing is counted. */
  readonly calls?: Pick<CallCounts, 'answered'>;
  /** Calls are begun when this has resolved. Default: at once. */
  readonly ready?: Promise<void>;
}

export interface PluginHandlerOptions {
  /** After this a call is answered with an error. Default 10,000. */
  readonly deadlineMs?: number;
  /** Calls of one method that run at a time; further ones wait, as long as their deadline allows. Default 32. */
  readonly mostAtOnce?: number;
}

/** Longer bodies are refused: a thousand published ports take 100 kB. */
export const MOST_BODY_BYTES = 1 << 20;
const DEADLINE_MS = 10_000;
const MOST_AT_ONCE = 32;

/**
 * Answers Docker's calls. A call has a deadline, because dockerd has none and waits for ever. Its work goes on after that,
 * for the call may come again, and is not repeated then. A call that was still waiting for its turn is not begun.
 */
export class PluginHandler {
  readonly #components: PluginHandlerComponents;
  readonly #deadlineMs: number;
  /** By method: calls that wait for the registry keep no other call waiting. */
  readonly #lanes: ReadonlyMap<string, Lane>;

  constructor(
    components: PluginHandlerComponents,
    { deadlineMs = DEADLINE_MS, mostAtOnce = MOST_AT_ONCE }: PluginHandlerOptions = {},
  ) {
    this.#components = components;
    this.#deadlineMs = deadlineMs;
    this.#lanes = new Map(Object.keys(METHODS).map((call) => [call, new Lane(mostAtOnce)]));
  }

  /** Never rejects. */
  async answer({ method, path, body }: HttpRequest): Promise<HttpAnswer> {
    const { clock, logger, calls } = this.#components;
    const call = path.replace(/^\//, '').replace(/\?.*$/s, '');
    const begun = clock.monotonic();
    const seconds = (): number => (clock.monotonic() - begun) / 1000;
    try {
      if (method !== 'POST') return failure(405, `weft answers calls of Docker, which come by POST`);
      const fixed = Object.hasOwn(FIXED_ANSWERS, call) ? FIXED_ANSWERS[call] : undefined;
      const answer = fixed ?? (await this.#call(call, body));
      if (answer === undefined) return failure(404, `weft has no method ${shortened(call)}`);
      calls?.answered(call, seconds(), 'done');
      logger.verbose(1, `Docker called ${call}`, { ms: Math.round(seconds() * 1000) });
      return { status: 200, body: JSON.stringify(answer) };
    } catch (error) {
      calls?.answered(call, seconds(), 'failed');
      const text = textOf(call, error);
      logger.warning(`Docker called ${shortened(call)} and got an error: ${text}`);
      if (!(error instanceof WeftError) && error instanceof Error) logger.error(error.stack ?? text);
      return failure(error instanceof CallError ? 400 : 200, text);
    }
  }

  /** `undefined` for an unknown method. */
  async #call(call: string, body: HttpRequest['body']): Promise<Answer | undefined> {
    const method = Object.hasOwn(METHODS, call) ? METHODS[call] : undefined;
    const lane = this.#lanes.get(call);
    if (method === undefined || lane === undefined) return undefined;
    if (body === 'too-long') {
      throw new CallError(`${call} has a body of more than ${MOST_BODY_BYTES} bytes`, 'use fewer options');
    }
    const work = method(CallBody.read(call, body), this.#components);
    const end = new AbortController();
    const late = this.#deadline(call, end);
    try {
      await lane.enter(end.signal);
      return await Promise.race([this.#run(call, lane, work, end.signal), late]);
    } finally {
      end.abort();
    }
  }

  async #run(call: string, lane: Lane, work: () => Promise<Answer>, answered: AbortSignal): Promise<Answer> {
    try {
      answered.throwIfAborted();
      const { ready } = this.#components;
      if (ready !== undefined) await orAborted(ready, answered);
      return await work();
    } catch (error) {
      if (answered.aborted && error !== answered.reason) {
        this.#components.logger.warning(`${call} failed after its time was up: ${textOf(call, error)}`);
      }
      throw error;
    } finally {
      lane.leave();
    }
  }

  /** Rejects at the deadline and aborts `end`; settles in no other way. */
  #deadline(call: string, end: AbortController): Promise<never> {
    const { clock } = this.#components;
    const { promise, reject } = Promise.withResolvers<never>();
    clock.sleep(this.#deadlineMs, end.signal).then(
      () => {
        const late = new WeftError('plugin-late', `${call} took more than ${this.#deadlineMs / 1000} s`, {
          remedy: 'repeat the command; the log of flanneld says what it waits for',
        });
        reject(late);
        end.abort(late);
      },
      () => {},
    );
    // Nobody waits for it while the call waits for its turn.
    promise.catch(() => {});
    return promise;
  }
}

/**
 * dockerd reads `Error` of the address driver's answers with status 200, and `Err` of all others (moby's
 * pkg/plugins/client.go); it ignores the field that it does not know.
 */
const failure = (status: number, text: string): HttpAnswer => ({
  status,
  body: JSON.stringify({ Err: text, Error: text }),
});

/** What Docker's user reads, in one line. */
function textOf(call: string, error: unknown): string {
  const text = messageOf(error).replaceAll(/\s*\n\s*/g, ' ');
  if (error instanceof WeftError) return text;
  return `weft failed in ${call}: ${text}; its log has more`;
}

const LONGEST_NAME = 60;
const shortened = (text: string): string => JSON.stringify(text.slice(0, LONGEST_NAME));
