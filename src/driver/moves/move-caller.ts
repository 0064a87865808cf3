import type { MoveOffer, MoveWish } from '#src/driver/moves/move-offers.ts';
import type { MoveProgress } from '#src/driver/moves/outgoing-moves.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { HttpCall, UnixHttpClient } from '#src/sys/unix-http.ts';

export interface MoveCallerComponents {
  readonly http: Pick<UnixHttpClient, 'call'>;
  readonly clock: Clock;
}

const CALL_MS = 60_000;
const LOOK_MS = 100;
/** A daemon that starts again is waited for so long. */
const AWAY_MS = 60_000;

/** Asks the daemon of this host for moves: see MoveServer. All calls throw WeftError `move` with its words, or `not-running`. */
export class MoveCaller {
  readonly #components: MoveCallerComponents;
  readonly #socket: string;

  constructor(components: MoveCallerComponents, { socket }: { readonly socket: string }) {
    this.#components = components;
    this.#socket = socket;
  }

  offer(wish: MoveWish, signal: AbortSignal): Promise<MoveOffer> {
    return this.#call({ method: 'POST', path: '/moves', body: JSON.stringify(wish) }, signal);
  }

  async begin(id: string, signal: AbortSignal): Promise<void> {
    await this.#call({ method: 'POST', path: `/moves/${id}/begin` }, signal);
  }

  async cancel(id: string, signal: AbortSignal): Promise<void> {
    await this.#call({ method: 'DELETE', path: `/moves/${id}` }, signal);
  }

  /** Reports each step of a move that was begun, until its end. The move goes on without a listener. */
  async follow(
    id: string,
    onStep: (step: string) => void,
    signal: AbortSignal,
  ): Promise<NonNullable<MoveProgress['end']>> {
    const { clock } = this.#components;
    let heardAt = clock.monotonic();
    for (let said = 0; ; ) {
      try {
        const { steps, end } = await this.#call<MoveProgress>(
          { method: 'GET', path: `/moves/${id}` },
          signal,
        );
        heardAt = clock.monotonic();
        // Another process counts from the beginning.
        if (steps.length < said) said = 0;
        for (const step of steps.slice(said)) onStep(step);
        said = steps.length;
        if (end !== undefined) return end;
      } catch (error) {
        signal.throwIfAborted();
        const isAway = error instanceof WeftError && error.code === 'not-running';
        if (!isAway || clock.monotonic() - heardAt > AWAY_MS) throw error;
      }
      await clock.sleep(LOOK_MS, signal);
    }
  }

  async #call<T>(call: HttpCall, signal: AbortSignal): Promise<T> {
    const answer = await this.#components.http
      .call(this.#socket, call, { timeoutMs: CALL_MS, signal })
      .catch((cause: unknown) => {
        signal.throwIfAborted();
        throw new WeftError(
          'not-running',
          `no flanneld takes moves at ${this.#socket}: ${messageOf(cause)}`,
          {
            remedy: 'see that it runs with Docker on this host; --state-dir must be that of the daemon',
            cause,
          },
        );
      });
    const fields = JSON.parse(answer.body) as T & { readonly error?: string };
    if (answer.status === 200) return fields;
    throw new WeftError('move', fields.error ?? `flanneld answers with status ${answer.status}`);
  }
}
