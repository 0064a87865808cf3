import { messageOf } from '#src/lib/errors.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { TraceAnswer } from '#src/ui/model/feed.ts';
import type { UiPlace } from '#src/ui/server/ui-source.ts';

export type TraceOutcome =
  | { readonly status: 200; readonly body: TraceAnswer }
  | { readonly status: 400 | 429 | 502 | 504; readonly body: { readonly error: string } };

/** An address, or a container's name or id; `h1/c1` in a lab. No dash in front: it would be a flag. */
const WORD = /^[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,127}$/;
const DEADLINE_MS = 30_000;

/** Runs `weft trace`, one at a time: it looks at many things, on two hosts. */
export class TraceRunner {
  readonly #place: UiPlace;
  readonly #commands: CommandRunner;
  #busy = false;

  constructor(place: UiPlace, commands: CommandRunner) {
    this.#place = place;
    this.#commands = commands;
  }

  async run(from: string, to: string, signal: AbortSignal): Promise<TraceOutcome> {
    const strange = [from, to].find((word) => !WORD.test(word));
    if (strange !== undefined) {
      return refusal(
        400,
        `"${strange}" is neither an address nor a container: letters, digits and ._:/- only`,
      );
    }
    if (this.#busy) return refusal(429, 'another trace runs: wait for its end, and try again');
    this.#busy = true;
    try {
      const argv = await this.#place.trace(from, to);
      const { code, stdout, stderr } = await this.#commands.run(argv, { timeoutMs: DEADLINE_MS, signal });
      // A trace that stops exits with 1, and one that was ended late may have said all that it had to say.
      const answer = readTrace(stdout);
      if (answer !== undefined) return { status: 200, body: answer };
      if (code === 124) return refusal(504, `the trace had no end after ${DEADLINE_MS / 1000} s`);
      return refusal(502, stderr.trim().split('\n')[0] || `weft trace ended with exit code ${code}`);
    } catch (error) {
      return refusal(502, messageOf(error));
    } finally {
      this.#busy = false;
    }
  }
}

const refusal = <Status extends 400 | 429 | 502 | 504>(status: Status, error: string) => ({
  status,
  body: { error },
});

/** `undefined` for what is no trace. */
function readTrace(text: string): TraceAnswer | undefined {
  try {
    const value = JSON.parse(text) as Partial<TraceAnswer> | null;
    return Array.isArray(value?.hops) ? { hops: value.hops } : undefined;
  } catch {
    return undefined;
  }
}
