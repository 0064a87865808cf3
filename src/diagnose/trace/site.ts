import type { Hop } from '#src/diagnose/trace/hop.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import type { PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { walkPart } from '#src/diagnose/trace/walk-part.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';

/** One end of a way: a host that looks at its part of it. */
export interface Site {
  readonly name: string;
  /** Never rejects but for the signal: a host that can't be asked answers hops that are `unknown`. */
  walk(request: PartRequest): Promise<PartAnswer>;
  /** Whether the last part was seen by the host itself. */
  readonly answers: boolean;
}

/** A host that is looked at from here. */
export const localSite = (host: LocalHost): Site => ({
  name: host.name,
  answers: true,
  walk: (request) => walkPart(host, request),
});

/** Sends a request to the responder of another host, and returns its answer. */
export type AskPart = (request: PartRequest) => Promise<PartAnswer>;

/** A host that is asked. `name`: what it is called as long as it has not answered. */
export class RemoteSite implements Site {
  readonly #ask: AskPart;
  #name: string;
  #answers = false;

  constructor(name: string, ask: AskPart) {
    this.#name = name;
    this.#ask = ask;
  }

  get name(): string {
    return this.#name;
  }

  get answers(): boolean {
    return this.#answers;
  }

  async walk(request: PartRequest): Promise<PartAnswer> {
    try {
      const answer = await this.#ask(request);
      this.#name = answer.host;
      this.#answers = true;
      return answer;
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#answers = false;
      return { host: this.name, hops: [this.#unknown(request, messageOf(error))] };
    }
  }

  #unknown({ part, way }: PartRequest, why: string): Hop {
    return {
      id: part === 'leave' ? 'container' : 'arrival-device',
      host: this.name,
      way,
      about:
        part === 'leave'
          ? 'the way out of the other host can only be seen there'
          : 'the way into the other host can only be seen there',
      command: '',
      found: [`it can't be asked: ${why}`],
      expected: '',
      ok: 'unknown',
    };
  }
}
